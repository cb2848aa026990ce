"""The fused kernels without a GPU: emulated on the CPU, thread by thread, and compiled for GPUs by NVRTC. With one: the real thing."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from emulation import EmulatedKernels
from fused_figures import SHARED_MEMORY, resources
from plain_pytorch import PlainTrial
from toy_trials import LOSSES, config, random_dataset, settings, varied_configs

from sweeper import catalogue
from sweeper.errors import TrainingError
from sweeper.training.engine import Pack, fused_problem
from sweeper.training.gpu import nvrtc
from sweeper.training.gpu.geometry import FUSED_LOSSES, Arguments, Geometry, MemberRow
from sweeper.training.model import ConvNet

SMALL = settings(validation=20)
CIFAR, CPU = ConvNet(32, 32, 10), torch.device("cpu")
NOTHING_SHARED = {"most_bytes": 20_000, "multiprocessor_bytes": 20_000}


@pytest.fixture(scope="module")
def dataset():
    """Few images: the emulation takes some milliseconds for each."""
    return random_dataset(100, 20)


@pytest.fixture(
    params=[
        "emulated",
        pytest.param("gpu", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]),
    ]
)
def pack_of(request):
    """Makes a pack of a data set, settings and members that trains with the kernels."""
    device, backend = ("cpu", EmulatedKernels) if request.param == "emulated" else ("cuda", "fused")
    return lambda dataset, way, members: Pack(dataset, way, members, device, backend)


def learnt(pack, configs):
    """Figures and states after an epoch, without the times."""
    figures = pack.train_epoch()
    return [(figures[member.trial_id].train_loss, figures[member.trial_id].val_loss, pack.state(member.trial_id)) for member in configs]


def assert_same_bits(found, expected):
    for (*figures, state), (*expected_figures, expected_state) in zip(found, expected, strict=True):
        assert figures == expected_figures
        for name, array in expected_state.items():
            np.testing.assert_array_equal(state[name], array, err_msg=name)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: "-".join(map(str, loss.values())))
def test_every_loss_teaches_by_the_kernels_what_it_teaches_in_plain_pytorch(dataset, pack_of, loss):
    member = config(0, **loss, batch_size=33, weight_decay=1e-2, learning_rate=0.01)
    pack, plain = pack_of(dataset, SMALL, [member]), PlainTrial(dataset, SMALL, member)
    for _ in range(2):
        found = pack.train_epoch()[member.trial_id]
        train_loss, train_accuracy, val_loss, _ = plain.train_epoch()
        assert found.train_loss == pytest.approx(train_loss, rel=1e-5)
        assert found.val_loss == pytest.approx(val_loss, rel=1e-5)
        assert found.train_accuracy == pytest.approx(train_accuracy, abs=1e-9)
    for name, expected in plain.weights().items():
        np.testing.assert_allclose(pack.state(member.trial_id)[f"weights/{name}"], expected, atol=2e-5, err_msg=name)


def test_the_kernels_know_every_loss_of_the_catalogue():
    assert set(FUSED_LOSSES) == set(catalogue.LOSSES)
    assert all(len(entry.defaults) <= 1 for entry in catalogue.LOSSES.values()), "a member has room for one parameter"


@pytest.mark.parametrize("n_members", [1, 3, 8])
def test_company_changes_no_bit_of_a_member(dataset, pack_of, n_members):
    configs = varied_configs(n_members, seeds=(1, 2), batch_sizes=(64, 33, 250))
    together = learnt(pack_of(dataset, SMALL, configs), configs)
    for member, in_company in zip(configs, together, strict=True):
        assert_same_bits([in_company], learnt(pack_of(dataset, SMALL, [member]), [member]))


def test_a_diverging_neighbour_changes_no_bit_of_the_others(dataset, pack_of):
    healthy, sick = varied_configs(3), config(9, learning_rate=1e30)
    calm, wild = (pack_of(dataset, SMALL, members) for members in (healthy, [sick, *healthy]))
    calm.train_epoch()
    assert not np.isfinite(wild.train_epoch()[sick.trial_id].train_loss)
    assert_same_bits(learnt(wild, healthy), learnt(calm, healthy))


def test_threads_and_blocks_may_run_in_any_order():
    """Kernels that miss a barrier do not pass: a thread would read what another has yet to write, or has overwritten already."""
    dataset, configs = random_dataset(60, 24), varied_configs(3, seeds=(1, 2), batch_sizes=(24, 17))
    way = settings(validation=None, evaluate_on="test")
    forwards, backwards, shuffled = (
        learnt(Pack(dataset, way, configs, backend=partial(EmulatedKernels, order=order)), configs) for order in range(3)
    )
    assert_same_bits(backwards, forwards)
    assert_same_bits(shuffled, forwards)


@pytest.mark.slow
def test_no_barrier_of_the_kernels_can_be_left_out():
    dataset, configs = random_dataset(60, 24), varied_configs(3, seeds=(1, 2), batch_sizes=(24, 17))
    way = settings(validation=None, evaluate_on="test")
    lines = nvrtc.SOURCE.read_text().split("\n")
    barriers = [number for number, line in enumerate(lines) if "__syncthreads()" in line]
    assert len(barriers) == 15
    expected = learnt(Pack(dataset, way, configs, backend=EmulatedKernels), configs)
    for number in barriers:
        around = "\n".join(lines[number - 2 : number + 3])
        edit = (around, around.replace(lines[number], "", 1))
        packs = [Pack(dataset, way, configs, backend=partial(EmulatedKernels, order=order, edit=edit)) for order in range(3)]
        try:
            for pack in packs:
                assert_same_bits(learnt(pack, configs), expected)
        except AssertionError:
            continue
        pytest.fail(f"nothing changes without the barrier of line {number + 1}", pytrace=False)


@pytest.mark.parametrize(
    ("height", "width", "n_classes", "shared", "tile"),
    [
        (10, 10, 2, {}, 8),
        (28, 37, 3, {}, 8),
        (64, 48, 12, {}, 2),
        (32, 32, 70, {}, 8),
        (32, 32, 10, {"most_bytes": 65_536, "multiprocessor_bytes": 65_536}, 4),
        (32, 32, 10, NOTHING_SHARED, 8),
        (120, 121, 3, {}, 1),
    ],
    ids=["smallest", "odd", "tiles of two", "many classes", "as on sm_75", "device memory", "tiles of one"],
)
def test_any_image_size_and_class_count_has_kernels(height, width, n_classes, shared, tile):
    make = partial(EmulatedKernels, **shared)
    net = ConvNet(height, width, n_classes)
    geometry = make(net).geometry
    assert geometry.tile == tile
    if shared == NOTHING_SHARED:
        assert geometry.scratch_bytes > 0
    dataset = random_dataset(max(n_classes, 14), n_classes, height, width, n_classes)
    way = settings(validation=None, evaluate_on="test")
    configs = varied_configs(2, batch_sizes=(11,))
    fused, operators = (Pack(dataset, way, configs, backend=backend) for backend in (make, "operators"))
    found, expected = fused.train_epoch(), operators.train_epoch()
    for member in configs:
        assert found[member.trial_id].train_loss == pytest.approx(expected[member.trial_id].train_loss, rel=1e-5)
        assert found[member.trial_id].val_loss == pytest.approx(expected[member.trial_id].val_loss, rel=1e-4)


def test_members_of_ones_own_loss_go_by_operators_beside_the_kernels(dataset, pack_of):
    own, fused = config(0, loss="losses_of_a_user:Focal", gamma=2.0), config(1, loss="focal", gamma=2.0)
    result = pack_of(dataset, SMALL, [own, fused]).train_epoch()
    assert result[own.trial_id].train_loss == pytest.approx(result[fused.trial_id].train_loss, rel=1e-5)
    assert result[own.trial_id].val_accuracy == result[fused.trial_id].val_accuracy


def test_a_state_of_the_kernels_continues_by_lanes_and_the_other_way_round(dataset, pack_of):
    member = config(0, loss="focal", gamma=1.0)
    plain = PlainTrial(dataset, SMALL, member)
    plain.train_epoch()
    expected = plain.train_epoch()[0]
    fused, lanes = pack_of, partial(Pack, backend="lanes")
    for first, then in ((lanes, fused), (fused, lanes)):
        before, after = (make(dataset, SMALL, [member]) for make in (first, then))
        before.train_epoch()
        after.restore(member.trial_id, before.state(member.trial_id))
        assert after.train_epoch()[member.trial_id].train_loss == pytest.approx(expected, rel=1e-4)


def test_buffers_follow_a_pack_that_shrinks_and_grows(dataset, pack_of):
    configs = varied_configs(8, seeds=(1, 2, 3), batch_sizes=(64, 33))
    pack = pack_of(dataset, SMALL, configs)
    pack.train_epoch()
    pack.remove([member.trial_id for member in configs[1:7]])
    pack.train_epoch()
    pack.add(configs[1:7])
    alone = pack_of(dataset, SMALL, [configs[7]])
    for _ in range(2):
        alone.train_epoch()
    assert_same_bits(learnt(pack, configs[7:]), learnt(alone, configs[7:]))


def test_an_epoch_is_the_same_on_every_run(dataset, pack_of):
    configs = varied_configs(5, seeds=(1, 2), batch_sizes=(64, 33))
    first, second = (learnt(pack_of(dataset, SMALL, configs), configs) for _ in range(2))
    assert_same_bits(first, second)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_the_gpu_at_hand_the_kernels_prove_themselves(dataset):
    pack = Pack(dataset, SMALL, varied_configs(9), "cuda")
    pack.train_epoch()
    assert pack.notice is None


# ---- trust


def test_kernels_that_learn_what_the_operators_learn_are_trusted():
    assert fused_problem(EmulatedKernels, CIFAR, CPU) is None


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("if (i == 27) gradient", "if (i == 26) gradient", r"conv1\.\w+ of a network with loss \w+ ends \d+% of its way"),
        ("slope = 1 + parameter * p;", "slope = 1;", "with loss poly1 "),
        ("for (int t = t0; t < 8; t += THREADS) s.b2[t]", "for (int t = t0; t < 7; t += THREADS) s.b2[t]", "of a network with loss"),
        ("float g = 0;", "float g = slot * 1e-9f;", "a network learns other bits in company than alone"),
    ],
)
def test_kernels_with_a_fault_are_found_out(old, new, problem):
    assert re.search(problem, fused_problem(partial(EmulatedKernels, edit=(old, new)), CIFAR, CPU) or "trusted")


def test_kernels_that_cannot_be_had_leave_the_training_to_operators(dataset):
    def unavailable(net, device):
        raise nvrtc.KernelError("cuInit: CUDA_ERROR_NO_DEVICE")

    assert fused_problem(unavailable, CIFAR, CPU) == "KernelError: cuInit: CUDA_ERROR_NO_DEVICE"


class FailsLater(EmulatedKernels):
    """Kernels whose launches fail from the second epoch on."""

    n_epochs = 0

    def launch(self, kernel, grid, arguments, step):
        self.n_epochs += kernel == "train" and step == 0
        if self.n_epochs > 1:
            raise nvrtc.KernelError("cuLaunchKernel: CUDA_ERROR_LAUNCH_FAILED")
        super().launch(kernel, grid, arguments, step)


def test_a_launch_that_fails_midway_goes_on_with_operators_and_says_so(dataset):
    member = config(0)
    pack, plain = Pack(dataset, SMALL, [member], backend=FailsLater), PlainTrial(dataset, SMALL, member)
    pack.train_epoch()
    assert pack.notice is None
    found = pack.train_epoch()[member.trial_id]
    plain.train_epoch()
    assert found.train_loss == pytest.approx(plain.train_epoch()[0], rel=1e-4)
    assert pack.notice == (
        "training with PyTorch's operators, since the fused kernels cannot be used: cuLaunchKernel: CUDA_ERROR_LAUNCH_FAILED"
    )


def test_fused_where_it_cannot_be_is_refused(dataset):
    with pytest.raises(TrainingError, match="backend fused trains the convnet on a GPU, got model convnet on cpu; take auto"):
        Pack(dataset, settings(backend="fused"), [])


# ---- compiling


def test_python_and_the_kernels_agree_on_their_structures():
    import ctypes

    library = EmulatedKernels(CIFAR)._library
    assert library.arguments_bytes() == ctypes.sizeof(Arguments)
    assert library.member_bytes() == ctypes.sizeof(MemberRow)


@pytest.mark.parametrize("architecture", SHARED_MEMORY)
def test_nvrtc_compiles_the_kernels_without_spills(architecture):
    pytest.importorskip("cuda.bindings.nvrtc", reason="cuda.bindings comes with PyTorch's builds for CUDA")
    rows = list(resources(architecture))
    assert {kernel for kernel, *_ in rows} == {"train", "update", "evaluate"}
    for kernel, _, threads, registers, spilled, _ in rows:
        assert spilled == 0, kernel
        assert registers * threads * (1 if kernel == "update" else 2) <= 65_536, "two blocks fit on a multiprocessor"


def test_compiled_kernels_are_kept_on_disk(tmp_path, monkeypatch):
    pytest.importorskip("cuda.bindings.nvrtc", reason="cuda.bindings comes with PyTorch's builds for CUDA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    geometry = Geometry.fitting(ConvNet(10, 10, 2), 232_448, 233_472)
    code = nvrtc.cached_kernels(geometry, "90")
    (kept,) = (tmp_path / "sweeper").iterdir()
    assert kept.read_bytes() == code
    kept.write_bytes(b"kept")
    assert nvrtc.cached_kernels(geometry, "90") == b"kept"
    assert nvrtc.cached_kernels(geometry, "80") != b"kept"
    kept.write_bytes(b"")  # torn by a crash
    assert nvrtc.cached_kernels(geometry, "90") == code


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path, monkeypatch):
    pytest.importorskip("cuda.bindings.nvrtc", reason="cuda.bindings comes with PyTorch's builds for CUDA")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert nvrtc.cached_kernels(Geometry.fitting(ConvNet(10, 10, 2), 232_448, 233_472), "90").startswith(b"\x7fELF")


def test_source_that_nvrtc_refuses_is_told_with_its_line(tmp_path, monkeypatch):
    pytest.importorskip("cuda.bindings.nvrtc", reason="cuda.bindings comes with PyTorch's builds for CUDA")
    broken = tmp_path / "convnet.cu"
    broken.write_text(nvrtc.SOURCE.read_text().replace("constexpr int HIDDEN = 32;", "constexpr int HIDDEN = many;"))
    monkeypatch.setattr(nvrtc, "SOURCE", broken)
    with pytest.raises(nvrtc.KernelError, match=r'NVRTC refuses convnet\.cu: convnet\.cu\(\d+\): error: identifier "many" is undefined'):
        nvrtc.compile_kernels(Geometry.fitting(CIFAR, 232_448, 233_472), "90")
