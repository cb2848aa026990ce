"""What must hold of a sweep that has ended, whatever happened to it on its way."""

import math
from pathlib import Path

import optuna
import pandas as pd
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from sweeper.records import VAL_METRICS
from sweeper.space import parse_stored_space
from sweeper.studies.studies import confirm_seeds

VARIES = ["pack", "device", "train_seconds", "epoch_seconds", "attempts", "sweep"]
"""Columns that may differ between two runs of one space on a CPU."""


def plain_studies(folder):
    """The studies of a sweep by name, read by Optuna's own classes."""
    storage = JournalStorage(JournalFileBackend(str(Path(folder) / "studies.journal")))
    return {name: optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)}


def tables(folder):
    """Trials and epochs as pandas reads them without our help, sorted."""
    trials = pd.read_parquet(Path(folder) / "trials").sort_values(["study", "number"], ignore_index=True)
    epochs = pd.read_parquet(Path(folder) / "epochs").sort_values(["phase", "arm", "search", "number", "epoch"], ignore_index=True)
    return trials, epochs


def check_sweep(folder, n_retried=0, *, by_earlier_version=False):
    """Every planned trial once, and Parquet equal to the studies.

    ``by_earlier_version``: one began it that read the test split of confirm trials alone, and had fewer metrics.
    """
    folder = Path(folder)
    space = parse_stored_space((folder / "sweep.yaml").read_text(), "sweep.yaml")
    trials, epochs = tables(folder)
    studies = plain_studies(folder)
    assert not trials["trial"].duplicated().any(), "a trial stands twice in Parquet"
    assert not epochs.duplicated(["trial", "epoch"]).any(), "an epoch stands twice in Parquet"
    searches = [arm if number == 1 else f"{arm}/s{number}" for number in space.searches for arm in (arm.name for arm in space.arms)]
    budgets = {arm.name: space.planned_trials(arm) for arm in space.arms}
    planned = {name: budgets[name.partition("/")[0]] for name in searches}
    if space.compare.seeds:
        searched = [name for name in searches if any(t.state is TrialState.COMPLETE for t in studies[name].trials)]
        planned |= {f"{name}/confirm": space.compare.seeds for name in searched}
    assert {name: len(study.trials) for name, study in studies.items()} == trials["study"].value_counts().to_dict()
    assert set(studies) == set(planned)
    assert sum(len(study.trials) for study in studies.values()) == sum(planned.values()) + n_retried
    metric = space.search.metric
    curves = {trial: dict(zip(rows["epoch"], rows[metric], strict=True)) for trial, rows in epochs.groupby("trial")}
    for row in trials.to_dict("records"):
        frozen = studies[row["study"]].trials[row["number"]]
        assert frozen.number == row["number"]
        assert frozen.state is {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}.get(row["state"], TrialState.PRUNED)
        assert frozen.user_attrs["trial"] == row["trial"]
        assert frozen.user_attrs["seed"] == row["seed"]
        for name, value in frozen.params.items():
            assert row[f"param_{name}"] == value
        assert same(frozen.intermediate_values, curves.get(row["trial"], {})), row["trial"]
        assert len(curves.get(row["trial"], {})) == row["epochs"]
        if row["state"] == "complete":
            assert frozen.value == row["value"] == row[f"{space.training.select}_{metric}"]
            assert row["epochs"] == space.training.epochs
            known = [name for name, metric in VAL_METRICS.items() if not (by_earlier_version and metric.is_later)]
            assert all(math.isfinite(row[f"last_{name}"]) for name in known)
        if not by_earlier_version or row["phase"] == "confirm":
            assert pd.isna(row["test_accuracy"]) == (row["state"] != "complete"), "the test split is read where a trial is complete"
        if row["state"] == "failed":
            assert row["error"]
            assert frozen.user_attrs["error"] == row["error"]
        if row["state"] == "diverged":
            assert frozen.user_attrs["diverged"] == row["diverged_epoch"]
    if space.compare.seeds:
        for name in searched:
            seeds = sorted(trials[(trials["study"] == f"{name}/confirm")]["seed"].unique())
            assert seeds == sorted(confirm_seeds(space.seed, space.compare.seeds))
    assert not list((folder / "checkpoints").iterdir()), "a checkpoint was left"
    assert not list(folder.rglob("*.tmp")), "half a file was left"


def same(ours, theirs):
    """Whether the studies know the curve in Parquet; what is not finite there is not a number for Optuna."""
    return ours.keys() == theirs.keys() and all(
        ours[key] == theirs[key] or (math.isnan(ours[key]) and (pd.isna(theirs[key]) or math.isinf(theirs[key]))) for key in ours
    )


def check_equal(folder, reference, varies=()):
    """Two sweeps found the same, bit by bit, but for what a clock or a name says, and for the columns in ``varies``."""
    for ours, theirs in zip(tables(folder), tables(reference), strict=True):
        dropped = [name for name in (*VARIES, *varies) if name in ours]
        pd.testing.assert_frame_equal(ours.drop(columns=dropped), theirs.drop(columns=dropped), check_exact=True)
