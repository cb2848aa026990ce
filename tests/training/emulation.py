"""The fused kernels compiled as C++ and run on the CPU, thread by thread: see ``emulated.h``."""

import ctypes
import functools
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from sweeper.training.gpu.geometry import Geometry
from sweeper.training.gpu.nvrtc import SOURCE

HERE = Path(__file__).parent
H100_SHARED = {"most_bytes": 232_448, "multiprocessor_bytes": 233_472}
WRONG = {1: "not all threads reach a barrier", 2: "shared memory beyond what the launch asked for", 3: "no kernel of this name"}


class EmulatedKernels:
    """What ``DeviceKernels`` is on a GPU; ``order`` of threads and blocks: 0 forwards, 1 backwards, 2 shuffled. ``edit``: of the source."""

    def __init__(self, net, device="cpu", *, order=0, edit=("", ""), **shared):
        self.geometry = Geometry.fitting(net, **(H100_SHARED | shared))
        self._order = order
        self._library = _built(self.geometry, *edit)

    def launch(self, kernel, grid, arguments, step):
        threads, shared = self.geometry.block(kernel)
        wrong = self._library.launch(kernel.encode(), *grid, threads, shared, ctypes.byref(arguments), step, self._order)
        assert not wrong, f"{kernel}: {WRONG[wrong]}"

    def captured(self, launches):
        return launches


@functools.cache
def _built(geometry, old, new):
    """The kernels for one network as a library, with ``old`` replaced by ``new`` in their source; kept for the next run."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("the fused kernels are emulated by a C++ compiler, and none is installed")
    source = SOURCE.read_text()
    assert old in source, f"{SOURCE.name} has no {old!r}"
    source = source.replace(old, new) if old else source
    around = [(HERE / name).read_text() for name in ("emulated.cpp", "emulated.h")]
    key = hashlib.blake2b(repr((source, around, geometry.defines, compiler)).encode(), digest_size=8).hexdigest()
    library = Path(tempfile.gettempdir()) / f"sweeper-emulated-{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, SOURCE.name).write_text(source)
            shutil.copy(HERE / "emulated.cpp", folder)
            options = ["-std=c++17", "-O3", "-shared", "-fPIC", "-w", f"-I{folder}", f"-I{HERE}", *geometry.defines]
            subprocess.run([compiler, *options, f"{folder}/emulated.cpp", "-o", f"{folder}/emulated.so"], check=True)
            shutil.move(f"{folder}/emulated.so", library)
    return ctypes.CDLL(str(library))
