"""What a module of the user's sets of PyTorch's precision neither enters training nor is lost by it, nor stops it."""

import pytest
import torch

from sweeper.training.custom_loss import MemberFailure
from sweeper.training.device import is_out_of_memory
from sweeper.training.gpu.grouped import DETERMINISTIC, exact_float32

BACKENDS = torch.backends


def read(function):
    try:
        return function()
    except RuntimeError:
        return "old and new settings disagree"


def state():
    rooms = (BACKENDS, BACKENDS.cudnn, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn, BACKENDS.cuda.matmul, BACKENDS.mkldnn.matmul)
    old = (torch.get_float32_matmul_precision, lambda: BACKENDS.cudnn.allow_tf32, lambda: BACKENDS.cuda.matmul.allow_tf32)
    flags = (BACKENDS.cudnn.enabled, BACKENDS.cudnn.benchmark, BACKENDS.cudnn.deterministic)
    return [room.fp32_precision for room in rooms], [read(each) for each in old], flags


@pytest.fixture(autouse=True)
def _as_before():
    yield
    torch.set_float32_matmul_precision("highest")
    BACKENDS.fp32_precision = BACKENDS.cudnn.fp32_precision = "none"
    BACKENDS.cudnn.allow_tf32 = True
    BACKENDS.cudnn.conv.fp32_precision = BACKENDS.cudnn.rnn.fp32_precision = "tf32"
    BACKENDS.cuda.matmul.fp32_precision = BACKENDS.mkldnn.matmul.fp32_precision = "none"
    BACKENDS.cudnn.benchmark = False


@pytest.mark.parametrize(
    ("room", "name", "value"),
    [
        (torch, "nothing", None),
        (BACKENDS, "fp32_precision", "tf32"),
        (BACKENDS, "fp32_precision", "ieee"),
        (BACKENDS.cudnn, "fp32_precision", "tf32"),
        (BACKENDS.cudnn.conv, "fp32_precision", "ieee"),
        (BACKENDS.cuda.matmul, "fp32_precision", "tf32"),
        (BACKENDS.cuda.matmul, "allow_tf32", True),
        (BACKENDS.cudnn, "allow_tf32", False),
        (BACKENDS.cudnn, "benchmark", True),
        (torch, "set_float32_matmul_precision", "high"),
        (torch, "set_float32_matmul_precision", "medium"),
    ],
)
def test_float32_is_exact_in_the_block_and_all_settings_are_back_behind_it(room, name, value):
    if name.startswith("set_"):
        getattr(room, name)(value)
    elif value is not None:
        setattr(room, name, value)
    before = state()
    with exact_float32():
        precisions, old, flags = state()
        assert set(precisions[2:]) == {"ieee"}
        assert old == ["highest", False, False]
        assert flags == (True, False, DETERMINISTIC)
        with pytest.raises(KeyError), exact_float32():
            raise KeyError
        assert state() == (precisions, old, flags)
        with BACKENDS.cudnn.flags(enabled=False):  # as a model of the user's may do
            pass
    assert state() == before


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (torch.cuda.OutOfMemoryError("HIP out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"), True),
        (RuntimeError("CUDA driver error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), True),
        (RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"), True),
        (RuntimeError("GET was unable to find an engine to execute this computation"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), False),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"), False),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"), False),
        (RuntimeError("stack expects each tensor to be equal size"), False),
        (ValueError("CUDA error: out of memory"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_too_little_memory_is_known_in_all_its_forms(error, is_memory):
    assert is_out_of_memory(error) is is_memory
    assert MemberFailure.of(error).out_of_memory is is_memory


def test_a_real_allocation_that_fails_is_too_little_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
