"""A pack on a device ``cuda`` that is not there: PyTorch computes shapes and devices of every operator, and no values.

What mixes devices, or asks the device for a value, raises where it stands.
"""

import contextlib
import gc
from concurrent.futures import Future

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sweeper.training import device_data
from sweeper.training.functional import FunctionalNetwork
from sweeper.training.gpu.grouped import GroupedNetwork

WAITS = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::masked_select", "aten::equal"}
"""Operators that wait for the device before the next one is known."""


def tensors_in(tree):
    return [each for each in tree_leaves(tree) if isinstance(each, torch.Tensor)]


class Watch(TorchDispatchMode):
    """What the operators of a block did: ``peak`` bytes on the device at once, and ``waits`` for a value, or for all of them."""

    def __init__(self):
        super().__init__()
        self.peak = 0
        self.waits = []
        self.n_operators = 0
        self._storages = {}

    def live(self):
        """Bytes that tensors made in the block hold now."""
        self._storages = {key: entry for key, entry in self._storages.items() if not entry[0].expired()}
        return sum(n_bytes for _, n_bytes in self._storages.values())

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name
        self.n_operators += 1
        on_device = any(each.device.type == "cuda" for each in tensors_in(args))
        back = name == "aten::_to_copy" and torch.device((kwargs or {}).get("device") or "cuda").type == "cpu"
        if on_device and (name in WAITS or back):
            self.waits.append(name)
        made = function(*args, **(kwargs or {}))
        tensors = tensors_in(made)
        for each in tensors:
            if each.device.type == "cuda":
                reference = StorageWeakRef(each.untyped_storage())
                self._storages.setdefault(reference.cdata, (reference, each.untyped_storage().nbytes()))
        if tensors:
            self.peak = max(self.peak, self.live())
        return made


class _AtOnce:
    """Runs in the calling thread what it is given: the modes above are a thread's own."""

    def __init__(self, *_, **__):
        pass

    def submit(self, function, *arguments):
        done = Future()
        done.set_result(function(*arguments))
        return done


@contextlib.contextmanager
def fake_cuda(monkeypatch):
    """In the block ``cuda`` is a device. Autograd runs on the CPU only, so the gradient has the right place and size, and no more."""

    def backward(network, gradient):
        assert gradient.device.type == "cuda"
        assert gradient.shape == network._logits.shape
        assert network._logits.requires_grad
        return torch.cat([tensor.detach().flatten(1) * 0 for tensor in network._tensors.values()], 1)

    for kind in (GroupedNetwork, FunctionalNetwork):
        monkeypatch.setattr(kind, "backward", backward)
    monkeypatch.setattr(device_data, "ThreadPoolExecutor", _AtOnce, raising=False)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield
    gc.collect()
