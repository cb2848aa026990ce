"""How long a sweep is expected to take: the order in which its packs are trained, and what the pruner leaves."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeper.errors import TrainingError
from sweeper.plan import STEP_SECONDS, ArmPlan, Plan, _Work, plan_text
from sweeper.space import load_space
from sweeper.studies.expected_epochs import MOST_TRIALS, expected_epochs
from sweeper.tune.pack_size import PackSize
from sweeper.tune.probe import probe

ROOT = Path(__file__).parents[1]


def work(arms=1, searches=1, trials=4, seeds=0, packs=1, size=1, even=False, seconds=(1.0,), test=0.0, refill=False):
    """``trials`` and ``seeds``: of each search of an arm."""
    each = [ArmPlan(f"arm{number}", searches, searches * trials, 0, searches * seeds, 0) for number in range(arms)]
    return _Work(each, packs, PackSize(size, even), [second - STEP_SECONDS for second in seconds], test, refill=refill)


@pytest.mark.parametrize(
    ("options", "lengths", "seconds"),
    [
        ({}, [3], 12),  # four trials of three epochs, one after the other
        ({"packs": 2}, [3], 6),
        ({"packs": 3}, [3], 6),  # the fourth begins when the first three have ended
        ({}, [3, 1], 8),
        ({"packs": 2}, [3, 1, 1, 1], 3),  # the second device takes the three short ones
        ({"seeds": 2}, [1], 4 + 2 * 3),  # confirm trials are never pruned
        ({"seeds": 2, "test": 0.5}, [1], 4 + 2 * 3.5),
        ({"test": 0.5}, [3, 1], 3.5 + 1 + 3.5 + 1),  # a search trial that runs to its end reads the test split too
        ({"test": 0.5, "seeds": 2, "refill": True}, [3, 1], 8 + 6 + 4 * 0.5),
        ({"seeds": 2, "packs": 4}, [1], 1 + 3),  # a search has to end before its best is known
        ({"arms": 2, "trials": 2, "seeds": 1, "packs": 2}, [1], 2 + 3),
        ({"searches": 2, "trials": 2, "seeds": 1, "packs": 2}, [1], 2 + 3),
        ({"searches": 2, "trials": 2, "packs": 2}, [3, 1], 4),  # each search has its own long trial
        ({"searches": 3, "trials": 1, "seeds": 1, "packs": 2}, [1], 7),  # the first is confirmed while the third is searched: not 8
        ({"size": 4, "seconds": (1.0, 4.0)}, [3], 12),
        ({"size": 4, "seconds": (1.0, 1.0)}, [3], 3),
        ({"size": 4, "seconds": (1.0, 4.0)}, [3, 1, 1, 1], 4 + 1 + 1),  # a pack goes on with the members that are left
        ({"size": 4, "seconds": (1.0, 4.0), "packs": 2, "even": True}, [3], 6),  # all devices end together
        ({"trials": 12, "size": 8, "seconds": (1.0, 8.0), "packs": 2, "even": True}, [3], 18),  # six each
        ({"trials": 20, "size": 8, "seconds": (1.0, 8.0), "packs": 2, "even": True}, [3], 24 + 6),  # eight each, and then two
        ({"trials": 8, "size": 4, "seconds": (1.0, 4.0), "packs": 2, "even": True}, [3, 1, 1, 1, 3, 3, 3, 3], 12),  # the second is not kept
        ({"size": 2, "seconds": (1.0, 1.0), "refill": True}, [3], 6),
    ],
)
def test_packs_are_trained_as_a_sweep_trains_them(options, lengths, seconds):
    assert work(**options).seconds(lengths, 3) == pytest.approx(seconds)


def test_a_large_sweep_is_reckoned_at_once():
    began = time.monotonic()
    assert work(arms=3, trials=1_000_000, packs=8).seconds([3], 3) == pytest.approx(3 * 3_000_000 / 8)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("pruner", "least", "most"),
    [
        ("{name: none}", 1.0, 1.0),
        ("{name: successive_halving, min_resource: 3, reduction_factor: 3}", 0.15, 0.5),
        ("{name: hyperband}", 0.15, 0.8),
        ("{name: median}", 0.3, 0.9),
        ("{name: percentile, percentile: 10}", 0.1, 0.7),
        ("{name: patient, patience: 50, wrapped: {name: median}}", 1.0, 1.0),
        ("{name: threshold, lower: 0.0}", 1.0, 1.0),
        ("{name: successive_halving, min_resource: 30, reduction_factor: 3}", 1.0, 1.0),
    ],
)
def test_every_pruner_leaves_a_share_of_the_epochs_that_fits_it(pruner, least, most):
    lengths = expected_epochs(load_space(str(ROOT / "search_spaces" / "focal.yaml"), [f"search.pruner={pruner}"]))
    assert least <= sum(lengths) / len(lengths) / 30 <= most
    assert all(1 <= length <= 30 for length in lengths)


@pytest.mark.parametrize(("trials", "epochs"), [(1, 1), (2, 3), (1000, 5), (8, 100_000)])
def test_as_many_lengths_come_back_as_there_are_trials_up_to_a_limit(trials, epochs):
    changes = [f"compare.trials_per_arm={trials}", f"training.epochs={epochs}"]
    lengths = expected_epochs(load_space(str(ROOT / "search_spaces" / "quickstart.yaml"), changes))
    assert len(lengths) == min(trials, MOST_TRIALS)
    assert max(lengths) == epochs


def test_trials_side_by_side_are_spread_over_the_searches_of_all_arms():
    one, five = (
        load_space(str(ROOT / "search_spaces" / "focal.yaml"), ["search.pruner=median", f"compare.searches={searches}"])
        for searches in (1, 5)
    )
    assert expected_epochs(five, 90) == expected_epochs(one, 18) != expected_epochs(one, 90)


def test_a_plan_tells_searches_times_trials():
    arms = tuple(ArmPlan(arm, 5, 80, 2400, 10, 300) for arm in ("l1", "focal"))
    plan = Plan("mine", arms, "2 cores", 2, 1, False, 0.5, 1.0, 20.0, 500.0, 500.0)
    lines = plan_text(plan).splitlines()
    assert lines[0] == "mine: 180 trials, at most 5,400 epochs; nothing was created"
    assert lines[2:5] == [
        "arm    search trials  epochs at most  confirm trials  epochs",
        "l1            5 x 16            2400           5 x 2     300",
        "focal         5 x 16            2400           5 x 2     300",
    ]


def test_a_process_that_dies_while_it_is_timed_is_told():
    with pytest.raises(TrainingError, match="an epoch cannot be timed: its process ended with 1: "):
        probe("no data set", "no settings", [["no member"]], "cpu", 1, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_dry_run_that_is_interrupted_leaves_no_process(number, tmp_path):
    command = [sys.executable, "-m", "sweeper", "run", str(ROOT / "search_spaces" / "quickstart.yaml"), "--dry-run"]
    run = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), "DRY_RUN_OF": str(tmp_path)}, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while not (probes := _probes(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert probes
    run.send_signal(number)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert b"Traceback" not in said
    deadline = time.monotonic() + 5  # left alone, they would train for ten seconds
    while (left := _probes(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def _probes(mark):
    """Processes that time epochs for the run that has this mark in its environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"sweeper.tune.probe" in (process / "cmdline").read_bytes() and f"DRY_RUN_OF={mark}".encode() in (
                process / "environ"
            ).read_bytes().split(b"\0"):
                found.append(process.name)
        except OSError:
            continue
    return found
