"""A pack that is refilled: who joins, when, and that newcomers learn what they would learn alone."""

import contextlib

import pytest
from faults.simulation import Worker, new_sweep

from sweeper.driver.coordinator import Coordinator
from sweeper.driver.events import ignore
from sweeper.driver.messages import PackReport
from sweeper.preflight import load_data
from sweeper.space import parse_space
from sweeper.sweep import _open
from sweeper.training.engine import Pack

SPACE = """
name: refill
dataset: {name: synthetic, train_images: 300, test_images: 50, validation: 60}
training: {epochs: 4, batch_size: 50}
parameters:
  loss: {choices: [cross_entropy, l1]}
  learning_rate: {low: 1.0e-3, high: 0.5, log: true}
compare: {arms: loss, searches: 1, trials_per_arm: 8, seeds: 0}
search:
  sampler: {name: random}
  pruner: {name: successive_halving, min_resource: 1, reduction_factor: 2}
resources: {max_failures: 1}
seed: 3
"""


@pytest.fixture
def opened(tmp_path):
    """A function that opens a new sweep: its coordinator and its folder."""
    with contextlib.ExitStack() as stack:

        def open_sweep(*, refill, name="sweep"):
            space = parse_space(SPACE, "space.yaml")
            folder = new_sweep(tmp_path / name, space)
            recorder, studies = _open(space, folder)
            stack.callback(recorder.close)
            stack.callback(studies.close)
            coordinator = Coordinator(space, studies, recorder, folder, ignore, refill=refill)
            return coordinator, folder

        yield open_sweep


def run(coordinator, folder, size, fails=lambda config, epoch: False):
    """Run to the end with one pack at a time; the number of members in every epoch, pack by pack."""
    sizes = []
    while not coordinator.finished:
        pack_id = f"pack-{len(sizes)}"
        worker = Worker(folder, coordinator.start_pack(pack_id, size), 4, fails, pack_id=pack_id)
        sizes.append([])
        while True:
            sizes[-1].append(len(worker.histories))
            decision = coordinator.report(pack_id, worker.step())
            worker.drop(decision.remove)
            worker.add(decision.add)
            if decision.empty:
                break
        coordinator.closed(pack_id)
    return sizes


def test_a_pack_that_is_not_refilled_shrinks(opened):
    for sizes in run(*opened(refill=False), size=4):
        assert sizes == sorted(sizes, reverse=True)


def test_a_refilled_pack_stays_full_while_trials_wait(opened):
    coordinator, folder = opened(refill=True)
    pack = run(coordinator, folder, size=4)
    assert sum(size == 4 for size in pack[0]) > 4


def test_a_pack_is_never_fuller_than_it_began(opened):
    assert max(size for pack in run(*opened(refill=True), size=3) for size in pack) == 3


@pytest.mark.parametrize("refill", [False, True])
def test_every_trial_ends_once(opened, refill):
    coordinator, folder = opened(refill=refill)
    run(coordinator, folder, size=4)
    recorded = [line for line in folder.row_log.read_text().splitlines() if '"kind":"trial"' in line]
    assert len(recorded) == 16
    assert folder.folder.names("checkpoints") == []  # before the sweep deletes what is left


def test_a_trial_that_failed_is_tried_again_alone_even_where_packs_are_refilled(opened):
    coordinator, folder = opened(refill=True)
    company = {}

    def fails(config, epoch):
        company.setdefault(config.trial_id, []).append(epoch)
        return config.trial_id == "l1-1" and len(company["l1-1"]) == 1

    sizes = run(coordinator, folder, size=4, fails=fails)
    assert any(pack[0] == 1 for pack in sizes)
    assert coordinator.finished


def test_newcomers_learn_what_they_would_learn_alone(opened):
    coordinator, _ = opened(refill=True)
    space = parse_space(SPACE, "space.yaml")
    dataset, settings = load_data(space, None), space.training_settings()
    members = coordinator.start_pack("pack", 8)
    pack, newcomers, curves = Pack(dataset, settings, members), [], {}
    while True:
        result = pack.train_epoch()
        for trial_id, metrics in result.items():
            curves.setdefault(trial_id, []).append(metrics)
        decision = coordinator.report("pack", PackReport("cpu", {trial_id: [metrics] for trial_id, metrics in result.items()}))
        pack.remove(decision.remove)
        pack.add(decision.add)
        newcomers += decision.add
        if decision.empty:
            break
    assert newcomers
    for config in newcomers:
        alone = Pack(dataset, settings, [config])
        for seen in curves[config.trial_id]:
            (metrics,) = alone.train_epoch().values()
            assert (metrics.epoch, metrics.train_loss, metrics.val_nll) == (seen.epoch, seen.train_loss, seen.val_nll)
