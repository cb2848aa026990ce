"""How CPU kernels are compiled, and their data layout: blocks of 16 images side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

LANES = 16
"""Images in a block: a vector register of 512 bits, or two of 256."""

Floats: TypeAlias = npt.NDArray[np.float32]
Bytes: TypeAlias = npt.NDArray[np.uint8]

# no "nnan" and "ninf": a diverging member's NaN must survive; no "reassoc": sums are the same on every run
OPTIONS: dict[str, Any] = {"fastmath": {"contract", "nsz"}, "error_model": "numpy", "boundscheck": False}

inlined: Callable[..., Any] = njit(inline="always", **OPTIONS)


def compiled(function: Callable[..., None], signature: str) -> Callable[..., None]:
    """The function as machine code that runs without the GIL, kept on disk where Numba finds a folder that it may write to."""
    try:
        kernel: Callable[..., None] = njit(signature, cache=True, nogil=True, **OPTIONS)(function)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        kernel = njit(signature, nogil=True, **OPTIONS)(function)
    return kernel
