"""Compiles the fused kernels for the card at hand with NVRTC, keeps them on disk, and launches them on PyTorch's stream.

NVRTC and the driver are called through ``cuda.bindings``; PyTorch's wheels for CUDA bring both.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch

from sweeper.training.gpu.geometry import Arguments, Geometry
from sweeper.training.gpu.graph import GraphError, captured
from sweeper.training.model import ConvNet

SOURCE = Path(__file__).with_name("convnet.cu")


class KernelError(Exception):
    """The kernels cannot be compiled, loaded or launched. The message says what refused, in one line."""


def cache_folder() -> Path:
    """Where compiled kernels are kept: ``sweeper`` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sweeper"


def compile_kernels(geometry: Geometry, architecture: str) -> tuple[bytes, str]:
    """Machine code for ``sm_<architecture>`` and the compiler's account of registers and spills.

    Needs no GPU. Raises :class:`KernelError` where NVRTC is missing or refuses the source.
    """
    nvrtc = _bindings("nvrtc")
    options = [f"--gpu-architecture=sm_{architecture}", "--std=c++17", "--ptxas-options=-v", *geometry.defines]
    encoded = [option.encode() for option in options]
    program = _checked("nvrtcCreateProgram", nvrtc.nvrtcCreateProgram(SOURCE.read_bytes(), SOURCE.name.encode(), 0, [], []))
    try:
        (status,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
        log = _text(nvrtc, "ProgramLog", program)
        if int(status):
            said = next((line for line in log.decode(errors="replace").splitlines() if "error" in line), status.name)
            raise KernelError(f"NVRTC refuses {SOURCE.name}: {said.strip()}")
        return _text(nvrtc, "CUBIN", program), log.rstrip(b"\0\n ").decode(errors="replace")
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def cached_kernels(geometry: Geometry, architecture: str) -> bytes:
    """As :func:`compile_kernels`, from disk where the same source was compiled with the same NVRTC before."""
    nvrtc = _bindings("nvrtc")
    release = nvrtc.nvrtcVersion()[1:]
    key = hashlib.blake2b(repr((SOURCE.read_bytes(), geometry.defines, architecture, release)).encode(), digest_size=16).hexdigest()
    kept = cache_folder() / f"convnet-sm_{architecture}-{key}.cubin"
    with suppress(OSError):
        if code := kept.read_bytes():
            return code
    code, _ = compile_kernels(geometry, architecture)
    with suppress(OSError):  # a folder that cannot be written costs a second at the next start
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as file:
            file.write(code)
        Path(file.name).replace(kept)
    return code


class DeviceKernels:
    """The kernels for one network on one GPU. Raises :class:`KernelError` where they cannot be had."""

    def __init__(self, net: ConvNet, device: torch.device) -> None:
        self._driver = _bindings("driver")
        torch.zeros(1, device=device)  # PyTorch's context is the one that the driver sees from here on
        number = torch.cuda.current_device() if device.index is None else device.index
        major, minor = torch.cuda.get_device_capability(number)
        kinds = self._driver.CUdevice_attribute
        in_a_block, in_all = (
            self._call("cuDeviceGetAttribute", kind, number)
            for kind in (
                kinds.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
                kinds.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
            )
        )
        self.geometry = Geometry.fitting(net, in_a_block, in_all)
        self._module = self._call("cuModuleLoadData", cached_kernels(self.geometry, f"{major}{minor}"))
        self._functions = {name: self._call("cuModuleGetFunction", self._module, name.encode()) for name in ("train", "update", "evaluate")}
        dynamic = self._driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        for name in ("train", "evaluate"):
            self._call("cuFuncSetAttribute", self._functions[name], dynamic, self.geometry.shared_bytes)

    def launch(self, kernel: str, grid: tuple[int, int], arguments: Arguments, step: int) -> None:
        """Queue a kernel on PyTorch's current stream."""
        number = ctypes.c_int(step)
        parameters = (ctypes.c_void_p * 2)(ctypes.addressof(arguments), ctypes.addressof(number))
        threads, shared = self.geometry.block(kernel)
        stream = torch.cuda.current_stream().cuda_stream
        self._call(
            "cuLaunchKernel", self._functions[kernel], *grid, 1, threads, 1, 1, shared, stream, ctypes.addressof(parameters), 0
        )  # fmt: skip

    def captured(self, launches: Callable[[], None]) -> Callable[[], None]:
        """The launches as one CUDA graph. They are run once before, and must do no harm then.

        Raises :class:`KernelError` where they cannot be captured.
        """
        try:
            return captured(launches)
        except GraphError as error:
            raise KernelError(f"no CUDA graph can be made of an epoch: {error}") from error

    def _call(self, name: str, *arguments: Any) -> Any:
        return _checked(name, getattr(self._driver, name)(*arguments))


@cache
def device_kernels(net: ConvNet, device: torch.device) -> DeviceKernels:
    """The kernels for a network on a GPU, loaded once by a process."""
    return DeviceKernels(net, device)


def _bindings(name: str) -> Any:
    """A module of ``cuda.bindings``, which PyTorch's builds for CUDA depend on."""
    try:
        module: Any = __import__(f"cuda.bindings.{name}", fromlist=[name])
    except (ImportError, OSError) as error:
        raise KernelError(f"cuda.bindings.{name} cannot be imported: {error}") from error
    return module


def _checked(name: str, answer: Sequence[Any]) -> Any:
    """What a function of ``cuda.bindings`` returns behind its status."""
    status, *values = answer
    if int(status):
        raise KernelError(f"{name}: {status.name}")
    return values[0] if values else None


def _text(nvrtc: Any, what: str, program: Any) -> bytes:
    """The log or the machine code of a program."""
    text: bytes = b" " * _checked(f"nvrtcGet{what}Size", getattr(nvrtc, f"nvrtcGet{what}Size")(program))
    _checked(f"nvrtcGet{what}", getattr(nvrtc, f"nvrtcGet{what}")(program, text))
    return text
