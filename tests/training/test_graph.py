"""Steps captured as a graph, which :mod:`recorded_graph` emulates on the CPU."""

import re
from dataclasses import replace

import pytest
import torch
from recorded_graph import recorded
from test_engine import assert_equal_states
from toy_trials import config, random_dataset, settings, varied_configs

from sweeper.records import Architecture
from sweeper.training import engine
from sweeper.training.engine import Pack, graph_problem
from sweeper.training.gpu.graph import GraphError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset():
    """67 batches of three images an epoch, of which the last is smaller, or 40 of five."""
    return random_dataset(250, 20)


@pytest.fixture
def captures():
    """The calls of ``recorded`` that packs make."""
    calls = []

    def capture(work):
        calls.append(work)
        return recorded(work)

    capture.calls = calls
    return capture


def assert_same_epoch(found, expected):
    rows, wanted = ({name: replace(row, epoch_seconds=0.0) for name, row in pack.train_epoch().items()} for pack in (found, expected))
    assert rows == wanted
    for trial_id in rows:
        assert_equal_states(found.state(trial_id), expected.state(trial_id))


def both(dataset, way, configs, capture, backend="operators"):
    return [Pack(dataset, way, configs, backend=backend, capture=each) for each in (capture, None)]


@pytest.mark.parametrize(
    ("seeds", "batch_sizes", "way", "n_graphs"),
    [
        ((1,), (3,), {}, 1),
        ((1, 2, 3), (3, 5), {}, 2),
        ((1,), (5,), {"augment": False, "reduction": "elements"}, 1),
        ((1, 2), (3,), {"validation": None, "evaluate_on": "test"}, 1),
        ((1, 2), (3,), {"augment": "randaugment"}, 1),
        ((1,), (5,), {"augment": "cutout"}, 1),
    ],
)
def test_a_graph_of_a_step_changes_no_bit_of_any_member(dataset, captures, seeds, batch_sizes, way, n_graphs):
    found, expected = both(dataset, settings(**way), varied_configs(9, seeds=seeds, batch_sizes=batch_sizes), captures)
    for epoch in (1, 2):
        assert_same_epoch(found, expected)
        assert len(captures.calls) == n_graphs * epoch
    assert found.notice is None


def test_members_that_come_and_go_are_trained_by_the_next_graph(dataset, captures):
    found, expected = both(dataset, settings(), varied_configs(4, batch_sizes=(3,)), captures)
    assert_same_epoch(found, expected)
    for pack in (found, expected):
        pack.remove(["arm-1", "arm-2"])
        pack.add([config(9, seed=5, batch_size=3), config(10, loss="mae", batch_size=3)])
    assert_same_epoch(found, expected)


@pytest.mark.parametrize(("backend", "n_graphs"), [("operators", 1), ("lanes", 2)], ids=["packed", "one after the other"])
def test_a_model_of_ones_own_is_captured_too(dataset, captures, backend, n_graphs):
    way = settings(model="models_of_a_user:Residual")
    found, expected = both(dataset, way, varied_configs(3, seeds=(1, 2), batch_sizes=(5,)), captures, backend)
    for epoch in (1, 2):
        assert_same_epoch(found, expected)
        assert len(captures.calls) == n_graphs * epoch
    assert found.notice is None


def test_a_loss_of_ones_own_is_called_in_every_step_and_never_captured(dataset, captures):
    mine = config(1, loss="losses_of_a_user:smoothed", batch_size=5)
    others = [config(number, loss="mse", batch_size=size) for number, size in ((2, 5), (3, 3))]
    found, expected = both(dataset, settings(), [mine, *others], captures)
    assert_same_epoch(found, expected)
    assert len(captures.calls) == 1  # of the batches of three


@pytest.mark.parametrize(("batch_size", "n_graphs"), [(7, 0), (6, 1)])
def test_an_epoch_of_fewer_steps_than_pay_is_not_captured(dataset, captures, batch_size, n_graphs):
    assert engine.LEAST_REPLAYED == 32
    assert [200 // size for size in (7, 6)] == [28, 33]
    found, expected = both(dataset, settings(), varied_configs(2, batch_sizes=(batch_size,)), captures)
    assert_same_epoch(found, expected)
    assert len(captures.calls) == n_graphs


def test_a_step_that_cannot_be_captured_is_taken_once_and_the_pack_goes_on_without_graphs(dataset):
    tried = []

    def refused(work):
        work()
        tried.append(work)
        raise GraphError("AcceleratorError: operation not permitted when stream is capturing")

    found, expected = both(dataset, settings(), varied_configs(3, batch_sizes=(3, 5)), refused)
    for _ in range(2):
        assert_same_epoch(found, expected)
        assert len(tried) == 1
        assert "no CUDA graph of a step can be used: AcceleratorError: operation not permitted" in found.notice


def test_a_model_that_waits_for_its_logits_trains_as_before(dataset):
    found, expected = both(dataset, settings(model="models_of_a_user:Branching"), varied_configs(2, batch_sizes=(3,)), recorded)
    assert_same_epoch(found, expected)
    assert "RuntimeError: operation not permitted when stream is capturing" in found.notice


def test_a_gpu_without_a_usable_graph_says_so_once_and_trains(dataset, monkeypatch):
    monkeypatch.setattr(engine, "graph_problem", lambda *_: "it is out of order")
    found, expected = both(dataset, settings(), varied_configs(2, batch_sizes=(3,)), "auto")
    assert found._capture_of_steps() is None
    assert found.notice is None  # there is nothing to capture on a CPU
    found, expected = both(dataset, settings(), varied_configs(2, batch_sizes=(3,)), "auto")
    found._device = torch.device("cuda")
    assert found._capture_of_steps() is None
    assert found.notice == "launching PyTorch's operators one by one, since no CUDA graph of a step can be used: it is out of order"
    found._device = CPU
    assert_same_epoch(found, expected)


# ---- trust


@pytest.mark.parametrize("model", ["convnet", "models_of_a_user:Residual"])
def test_graphs_that_learn_what_single_launches_learn_are_trusted(model):
    assert graph_problem(recorded, Architecture(model), (32, 32), 10, CPU) is None


def replayed_without_effect(work):
    work()
    return lambda: None


def replayed_twice(work):
    replay = recorded(work)

    def twice():
        replay()
        replay()

    return twice


def done_in_the_recording_too(work):
    work()
    return recorded(work)


@pytest.mark.parametrize("fault", [replayed_without_effect, replayed_twice, done_in_the_recording_too])
def test_graphs_that_do_something_else_are_found_out(fault):
    problem = graph_problem(fault, Architecture("convnet"), (32, 32), 10, CPU) or "trusted"
    assert re.search(r"(\d+% of its way from where it ends|train_loss .*) without a graph", problem), problem


def test_a_model_that_cannot_be_captured_says_why():
    problem = graph_problem(recorded, Architecture("models_of_a_user:Branching"), (32, 32), 10, CPU)
    assert "RuntimeError: operation not permitted when stream is capturing" in problem
