"""Every sampler with every pruner on a space with conditions: driven as packs drive it, closed and opened again on the way.

    python tests/studies/test_combinations.py

prints a table: for each combination how many trials were pruned, or what went wrong.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import optuna
import pytest
from faults.invariants import check_sweep, tables
from faults.kill_harness import finish, start
from forked_python import fast_python

from sweeper.records import TrialState
from sweeper.space import parse_space
from sweeper.studies.studies import Studies, TrialEnd

EPOCHS = 6
SPACE = """
name: combinations
dataset: {{name: synthetic}}
training: {{epochs: 6}}
parameters:
  batch_size: {{choices: [32, 64]}}
  loss: {{choices: [l1, label_smoothing, focal]}}
  learning_rate: {{low: 1e-3, high: 1.0, log: true}}
  gamma: {{low: 0.0, high: 5.0, when: {{loss: focal}}}}
  smoothing: {{low: 0.0, high: 0.3, when: {{loss: label_smoothing}}}}
compare: {{arms: batch_size, searches: 1, trials_per_arm: 8, seeds: 2}}
search: {{metric: {metric}, sampler: {sampler}, pruner: {pruner}}}
seed: 6
"""
SAMPLERS = {
    "tpe": "{name: tpe, n_startup_trials: 3}",
    "tpe, one group": "{name: tpe, n_startup_trials: 3, group: false}",
    "random": "random",
    "grid": "{name: grid, points: 3}",
    "gp": "{name: gp, n_startup_trials: 2}",
    "cmaes": "{name: cmaes, n_startup_trials: 3}",
    "qmc": "qmc",
}
MEDIAN = "{name: median, n_startup_trials: 2}"
HYPERBAND = "{name: hyperband, min_resource: 1, reduction_factor: 2}"
PRUNERS = {
    "median": MEDIAN,
    "percentile": "{name: percentile, percentile: 50, n_startup_trials: 2}",
    "successive_halving": "{name: successive_halving, min_resource: 1, reduction_factor: 2}",
    "hyperband": HYPERBAND,
    "patient(median)": f"{{name: patient, patience: 1, wrapped: {MEDIAN}}}",
    "patient(hyperband)": f"{{name: patient, patience: 1, wrapped: {HYPERBAND}}}",
    "threshold": "{name: threshold, lower: 0.3}",
    "wilcoxon": "wilcoxon",
    "none": "none",
}


def curve(config, epoch):
    """A figure that depends on the configuration and the epoch alone: the larger the learning rate, the sooner it falls again."""
    rate = float(config.parameters["learning_rate"])
    bonus = 0.1 if config.parameters["loss"] == "focal" else 0.0
    return 0.3 + bonus + 0.1 * epoch - (1 + 4 * rate) * 0.01 * epoch**2 - 0.3 * abs(rate - 0.1)


def drive(space, journal, *, live=4, reopen_every=0):
    """What every trial drew and how it ended, in the order of the ends, with ``live`` trials side by side."""
    studies = Studies(space, journal)
    epochs, drawn, ends, packed, n_steps = {}, {}, {}, {}, 0
    while not studies.finished:
        n_steps += 1
        if reopen_every and n_steps % reopen_every == 0:
            studies.close()
            studies = Studies(space, journal)
            studies.settle(ends)
            again = {config.trial_id: config for config in (studies.take() for _ in packed)}
            assert again == packed
        while len(packed) < live and (config := studies.take()):
            packed[config.trial_id], epochs[config.trial_id] = config, 0
            drawn[config.trial_id] = (config.seed, dict(config.parameters))
        studies.commit()
        for trial_id, config in list(packed.items()):
            epochs[trial_id] += 1
            value = curve(config, epochs[trial_id])
            if studies.report(trial_id, epochs[trial_id], value):
                ends[trial_id] = TrialEnd(TrialState.PRUNED)
            elif epochs[trial_id] == EPOCHS:
                ends[trial_id] = TrialEnd(TrialState.COMPLETE, value)
            else:
                continue
            studies.end(trial_id, ends[trial_id])
            del packed[trial_id]
        studies.commit()
    studies.close()
    return drawn, {trial_id: str(end.state) for trial_id, end in ends.items()}, epochs


def outcome(sampler, pruner, folder, live, metric="val_accuracy"):
    """Number of pruned trials of a sweep that is opened once; an error if one that is opened again and again finds anything else."""
    space = parse_space(SPACE.format(sampler=SAMPLERS[sampler], pruner=PRUNERS[pruner], metric=metric), "space.yaml")
    whole = drive(space, folder / "whole.journal", live=live)
    assert drive(space, folder / "again.journal", live=live, reopen_every=3) == whole
    drawn, ends, epochs = whole
    assert sum("confirm" in trial_id for trial_id in ends) == 4
    assert all(epochs[trial_id] == EPOCHS for trial_id in ends if ends[trial_id] == "complete" or "confirm" in trial_id)
    for _, parameters in drawn.values():
        assert ("gamma" in parameters) == (parameters["loss"] == "focal")
        assert ("smoothing" in parameters) == (parameters["loss"] == "label_smoothing")
    return sum(end == "pruned" for end in ends.values())


COMBINATIONS = [
    pytest.param(sampler, pruner, marks=[pytest.mark.slow] if sampler == "gp" and pruner not in {"hyperband", "none"} else [])
    for sampler in SAMPLERS
    for pruner in PRUNERS
]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(("sampler", "pruner"), COMBINATIONS)
def test_every_sampler_goes_with_every_pruner_on_a_conditional_space_in_packs_and_across_processes(sampler, pruner, tmp_path):
    n_pruned = outcome(sampler, pruner, tmp_path, live=4)
    if pruner != "patient(hyperband)":  # seldom two at once: a trial that stands still, and is behind in its rung
        assert (n_pruned > 0) == (pruner != "none")


@pytest.mark.parametrize("pruner", ["hyperband", "none"])
@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "qmc"])
def test_a_draw_depends_on_the_study_alone_where_trials_run_one_by_one(sampler, pruner, tmp_path):
    outcome(sampler, pruner, tmp_path, live=1, metric="val_nll")


REAL = """
name: real
dataset: {{name: synthetic, train_images: 400, test_images: 100, validation: 100}}
training: {{epochs: 3}}
parameters:
  momentum: {{choices: [0.0, 0.9]}}
  loss: {{choices: [l1, focal]}}
  learning_rate: {{low: 1e-3, high: 1.0, log: true}}
  gamma: {{low: 0.0, high: 5.0, when: {{loss: focal}}}}
compare: {{arms: momentum, searches: 1, trials_per_arm: 6, seeds: 2}}
search: {{sampler: {{name: tpe, n_startup_trials: 2}}, pruner: {pruner}}}
resources: {{pack: 3}}
"""


SLOW = [pytest.param(pruner, marks=pytest.mark.slow) for pruner in PRUNERS if pruner != "hyperband"]


@pytest.mark.parametrize("pruner", ["hyperband", *SLOW])
def test_a_real_sweep_runs_to_its_end_under_every_pruner(pruner, tmp_path):
    (tmp_path / "space.yaml").write_text(REAL.format(pruner=PRUNERS[pruner]))
    run = start(["run", str(tmp_path / "space.yaml"), "--results", str(tmp_path / "results")], tmp_path / "log", program=fast_python())
    assert finish(run) == 0, run.output
    (sweep,) = (tmp_path / "results").iterdir()
    check_sweep(sweep)
    trials = tables(sweep)[0]
    searched = trials[trials["phase"] == "search"]
    n_confirmed = searched[searched["state"] == "complete"]["arm"].nunique()  # `threshold` may leave none
    assert (len(searched), len(trials) - len(searched)) == (12, 2 * n_confirmed)
    assert n_confirmed == 2 or pruner == "threshold"


def print_table():
    """The table of all combinations; exit code 1 if one does not work."""
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    widths = [max(8, len(pruner)) for pruner in PRUNERS]
    lines = ["sampler        | " + " | ".join(pruner.ljust(width) for pruner, width in zip(PRUNERS, widths, strict=True))]
    all_work = True
    for sampler in SAMPLERS:
        cells = []
        for pruner, width in zip(PRUNERS, widths, strict=True):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    cell = f"ok, {outcome(sampler, pruner, Path(folder), live=4)}"
                except Exception as error:
                    cell, all_work = type(error).__name__, False
            cells.append(cell.ljust(width))
        lines.append(f"{sampler:14} | {' | '.join(cells)}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if all_work else 1


if __name__ == "__main__":
    sys.exit(print_table())
