"""What a CUDA graph does, on the CPU: the operators of some work are recorded without effect, and done again on the same memory.

Of the recording nothing is left but the graph, as on a GPU: what the work changed has its old values again, and what Python computed, or
kept, in the recording is not computed again by a replay.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sweeper.training.gpu.graph import GraphError

WAITS = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::masked_select", "aten::equal"}


class _Recording(TorchDispatchMode):
    """Operators of a block with their arguments and results, and the values of what they changed as they were before."""

    def __init__(self):
        super().__init__()
        self.operators = []
        self.before = {}
        self._made = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        schema = function._schema
        if schema.name in WAITS:
            raise RuntimeError("operation not permitted when stream is capturing")
        kwargs = kwargs or {}
        changed = [
            each for argument, each in zip(schema.arguments, args, strict=False) if argument.alias_info and argument.alias_info.is_write
        ]
        for each in changed:
            storage = each.untyped_storage()
            if storage.data_ptr() not in self._made | self.before.keys():
                self.before[storage.data_ptr()] = (storage, storage.clone())
        made = function(*args, **kwargs)
        new = (
            [each for each in tree_leaves(made) if isinstance(each, torch.Tensor)] if not any(r.alias_info for r in schema.returns) else []
        )
        self._made |= {each.untyped_storage().data_ptr() for each in new}
        self.operators.append((function, args, kwargs, new))
        return made


def recorded(work):
    """As :func:`sweeper.training.gpu.graph.captured`."""
    work()
    recording = _Recording()
    try:
        with recording:
            work()
    except RuntimeError as error:
        raise GraphError(f"{type(error).__name__}: {error}") from error
    finally:
        for storage, values in recording.before.values():
            storage.copy_(values)

    @torch.no_grad()
    def replay():
        for function, args, kwargs, new in recording.operators:
            made = function(*args, **kwargs)
            again = [each for each in tree_leaves(made) if isinstance(each, torch.Tensor)]
            for result, values in zip(new, again, strict=False):
                result.copy_(values)

    return replay
