"""What a device can be used for: whether torch has the GPUs of this machine, why not, and which errors mean too little memory.

Nothing here opens a context on a GPU.
"""

from __future__ import annotations

import platform
import re

from sweeper.store.provenance import gpu_names, has_gpu_driver

_INSTALL = "install a build of torch for CUDA (https://pytorch.org/get-started/locally)"

_OUT_OF_MEMORY = re.compile(
    r"CUDA (driver )?error: out of memory|CUDA_ERROR_OUT_OF_MEMORY|NVRTC_ERROR_OUT_OF_MEMORY"
    r"|\b(CUDNN|CUBLAS|CUSOLVER|CUSPARSE)_STATUS_ALLOC_FAILED\b|\bCUDNN_STATUS_INTERNAL_ERROR_(HOST|DEVICE)_ALLOCATION_FAILED\b"
    r"|\bCUFFT_ALLOC_FAILED\b|DefaultCPUAllocator: can't allocate memory"
    r"|unable to find an engine to execute this computation"  # PyTorch tries cuDNN's one by one, and says so where none had the memory
)
"""What PyTorch says, in errors that are no ``OutOfMemoryError``, where CUDA or one of its libraries got no memory."""


def torch_sees_gpus() -> bool:
    """Whether torch could train on a GPU here."""
    if not has_gpu_driver():
        return False
    import torch

    return torch.cuda.is_available()


def missing_device(device: str) -> str | None:
    """Why this process cannot train on the device that Ray gave it, and the way out; ``None`` if it can."""
    if device == "cpu" or torch_sees_gpus():
        return None
    return (
        f"Ray gave a trial on {platform.node()} a GPU that torch cannot use: {_why_no_cuda()}, or train on the CPU with --gpus-per-trial 0"
    )


def unused_gpu(*, joined: bool) -> str | None:
    """What to tell of a GPU of this machine while trials train on the CPU: what was found, why, the way out. ``None`` without a GPU.

    ``joined``: whether Ray is one that others started.
    """
    names = gpu_names() or (["a GPU"] if torch_sees_gpus() else [])
    if not names:
        return None
    if not torch_sees_gpus():
        why = _why_no_cuda()
    else:
        start = (
            "start its nodes with `ray start --num-gpus N`" if joined else "run `ray start --head --num-gpus N`, and give --address auto"
        )
        why = f"Ray reports no GPU: {start}"
    return f"this machine has {', '.join(names)}, but trials train on the CPU, since {why}; --gpus-per-trial 0 asks for the CPU"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of training means that the device, or the process, had too little memory: a smaller pack may go through."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None


def _why_no_cuda() -> str:
    """Why torch sees no GPU in this process, and the way out, as the end of a sentence."""
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        return f"the installed torch {torch.__version__} is built without CUDA: {_INSTALL}"
    return (
        f"torch {torch.__version__} cannot use CUDA {torch.version.cuda} there: `python -c 'import torch; torch.zeros(1).cuda()'` says why "
        "(an old driver, or CUDA_VISIBLE_DEVICES); mend that"
    )
