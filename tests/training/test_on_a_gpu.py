"""PyTorch's operators on a real GPU: ``pytest -m gpu``."""

import math
from dataclasses import replace

import pytest
import torch
from test_engine import assert_equal_states
from toy_trials import LOSSES, random_dataset, settings, varied_configs

from sweeper.training.device import is_out_of_memory
from sweeper.training.engine import Pack
from sweeper.training.evaluate import EVALUATION_BYTES
from sweeper.training.gpu.graph import captured

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

RELATIVE, ABSOLUTE = 2e-3, 0.01
"""Within these a loss and an accuracy count as the same after two short epochs: float32 sums in another order differ by less."""


@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_every_loss_learns_on_the_gpu_what_it_learns_on_the_cpu(dataset, seeds):
    configs = varied_configs(len(LOSSES), seeds=seeds, batch_sizes=(64, 50))
    on_cpu, on_gpu = Pack(dataset, settings(), configs), Pack(dataset, settings(), configs, "cuda")
    for _ in range(2):
        expected, found = on_cpu.train_epoch(), on_gpu.train_epoch()
        for trial_id, figures in expected.items():
            for name in ("train_loss", "val_loss", "val_nll", "val_brier"):
                assert getattr(found[trial_id], name) == pytest.approx(getattr(figures, name), rel=RELATIVE), (trial_id, name)
            for name in ("train_accuracy", "val_accuracy"):
                assert math.isclose(getattr(found[trial_id], name), getattr(figures, name), abs_tol=ABSOLUTE + 1 / 50), (trial_id, name)


def test_a_run_repeats_to_the_bit(dataset):
    configs = varied_configs(8, seeds=(1, 2))
    packs = [Pack(dataset, settings(), configs, "cuda") for _ in range(2)]
    for _ in range(2):
        first, second = ({name: replace(row, epoch_seconds=0.0) for name, row in pack.train_epoch().items()} for pack in packs)
        assert first == second
    for member in configs:
        assert_equal_states(packs[0].state(member.trial_id), packs[1].state(member.trial_id))


@pytest.mark.parametrize("model", ["convnet", "models_of_a_user:Residual"])
def test_a_graph_of_a_step_changes_no_bit_of_any_member(dataset, model):
    configs = varied_configs(8, seeds=(1, 2), batch_sizes=(3, 5))
    way = settings(model=model)
    found, expected = Pack(dataset, way, configs, "cuda", "operators"), Pack(dataset, way, configs, "cuda", "operators", capture=None)
    for _ in range(2):
        with_graphs, without = (
            {name: replace(row, epoch_seconds=0.0) for name, row in each.train_epoch().items()} for each in (found, expected)
        )
        assert with_graphs == without
    assert found.notice is None
    assert found._capture_of_steps() is captured
    for member in configs:
        assert_equal_states(found.state(member.trial_id), expected.state(member.trial_id))


def test_a_model_that_waits_for_its_logits_trains_without_a_graph_and_says_so(dataset):
    way = settings(model="models_of_a_user:Branching")
    pack = Pack(dataset, way, varied_configs(2, batch_sizes=(3,)), "cuda")
    for _ in range(2):
        assert len(pack.train_epoch()) == 2
    assert "no CUDA graph of a step can be used" in pack.notice


def test_memory_that_runs_out_is_recognised_and_the_next_pack_trains(dataset):
    try:
        torch.cuda.set_per_process_memory_fraction(64 * 2**20 / torch.cuda.get_device_properties(0).total_memory)
        with pytest.raises(RuntimeError) as caught:
            Pack(dataset, settings(), varied_configs(4096), "cuda").train_epoch()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert is_out_of_memory(caught.value)
    del caught
    torch.cuda.empty_cache()
    assert len(Pack(dataset, settings(), varied_configs(2), "cuda").train_epoch()) == 2


@pytest.mark.parametrize("n_streams", [1, 256])
def test_evaluation_holds_no_more_than_it_may(n_streams):
    pack = Pack(random_dataset(2500, 50), settings(validation=2000), varied_configs(256, seeds=range(n_streams)), "cuda")
    members = list(pack._members.values())
    pack._evaluate(members[:1])
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    pack._evaluate(members)
    torch.cuda.synchronize()
    # weights are copied, and splits of seeds are kept; the workspace of cuDNN comes on top, and is its own
    assert torch.cuda.max_memory_allocated() - before < 1.5 * EVALUATION_BYTES
