"""Work of a GPU captured as a CUDA graph, which repeats all of it in one launch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch

from sweeper.training.device import is_out_of_memory

_failed: list[torch.cuda.CUDAGraph] = []
"""Graphs whose capture failed. PyTorch's allocator goes on reading them, so they must stay."""


class GraphError(RuntimeError):
    """Work cannot be captured as a CUDA graph. The message says why, in one line."""


def captured(work: Callable[[], None]) -> Callable[[], None]:
    """Do some work, and return what does the same again, on the same memory, in one launch.

    The work may not wait for the device, nor depend on anything that Python computes anew. What it raises when it is done is passed on;
    raises :class:`GraphError` where it was done, but could not be captured, and for lack of memory what PyTorch raises.
    """
    here = torch.cuda.current_stream()
    aside = _stream(here.device)  # on which cuBLAS and autograd get ready: they may not in a capture
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        work()
    here.wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    try:
        # other threads may use the device meanwhile: they draw the next epoch
        with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
            work()
    except Exception as error:  # of the user's model too, which may refuse in many ways
        _failed.append(graph)
        torch.cuda.set_stream(here)  # where a capture fails, PyTorch stays on the stream of it
        for each in (error, error.__context__):  # the end of a capture raises what the error within it has broken
            if each is not None and is_out_of_memory(each):
                raise each from None
        cause = error.__context__ or error
        raise GraphError(f"{type(cause).__name__}: {' '.join(str(cause).split())}") from error
    return graph.replay


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of all captures: each one more would take memory for cuBLAS."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
