"""Whether torch can use the GPUs of this machine, and why trials train on the CPU where it cannot. Opens no context on a GPU."""

from __future__ import annotations

import platform

from sweeper.store.provenance import gpu_names, has_gpu_driver

_INSTALL = "install a build of torch for CUDA (https://pytorch.org/get-started/locally)"


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


def _why_no_cuda() -> str:
    """Why torch sees no GPU in this process, and the way out, as the end of a sentence."""
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        return f"the installed torch {torch.__version__} is built without CUDA: {_INSTALL}"
    return (
        f"torch {torch.__version__} cannot use CUDA {torch.version.cuda} there: `python -c 'import torch; torch.zeros(1).cuda()'` says why "
        "(an old driver, or CUDA_VISIBLE_DEVICES); mend that"
    )
