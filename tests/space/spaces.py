"""Spaces to start a test from."""

import copy

import optuna
import yaml

from sweeper.space import parse_space

optuna.logging.set_verbosity(optuna.logging.WARNING)

BASE = {
    "name": "base",
    "dataset": {"name": "synthetic"},
    "training": {"epochs": 9},
    "parameters": {
        "loss": {"choices": ["cross_entropy", "focal"]},
        "gamma": {"low": 0.0, "high": 5.0, "when": {"loss": "focal"}},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
    },
}


def base(**sections):
    """A valid space as plain data, with whole sections replaced."""
    return {**copy.deepcopy(BASE), **sections}


def space_of(data, **options):
    return parse_space(yaml.safe_dump(data, sort_keys=False), "test.yaml", **options)
