"""Reads a space file into a checked :class:`Space`, or reports every mistake with its line and how to fix it.

In: YAML, overrides, Python values, the rules of a space. Out of here: Optuna's studies, torch, Ray, files of results.
"""

from sweeper.space.advice import check_warnings
from sweeper.space.arms import Arm
from sweeper.space.containment import contained
from sweeper.space.dump import dump_space
from sweeper.space.load import load_space, parse_space, parse_stored_space
from sweeper.space.overrides import as_override
from sweeper.space.schema import (
    MANY_SEARCHES,
    Choices,
    Compare,
    Constant,
    Dataset,
    FloatRange,
    IntRange,
    Parameter,
    Reference,
    Resources,
    Search,
    Training,
)
from sweeper.space.space import Space

__all__ = [
    "MANY_SEARCHES",
    "Arm",
    "Choices",
    "Compare",
    "Constant",
    "Dataset",
    "FloatRange",
    "IntRange",
    "Parameter",
    "Reference",
    "Resources",
    "Search",
    "Space",
    "Training",
    "as_override",
    "check_warnings",
    "contained",
    "dump_space",
    "load_space",
    "parse_space",
    "parse_stored_space",
]
