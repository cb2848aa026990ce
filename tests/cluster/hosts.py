"""Hosts made of namespaces: each with its own address, file system, processes and sshd; they see one another and nothing else.

All of a host hangs on one process: when it ends, however it ends, the kernel takes away its processes, mounts and network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

HOME = "/home/host"
_INIT = Path(__file__).with_name("host.sh")
_PYTHON_BIN = Path(sys.executable).parent
_SEEN_BY_HOSTS = [str(Path(__file__).resolve().parents[2]), sys.prefix, sys.base_prefix]
"""Folders of this machine that a host works with, on whatever file system they lie: the project and its Python."""

_NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--net")
_NEEDED_OF_THE_KERNEL = """
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
ip link add switch type bridge
ip link add one type veth peer name other
"""


@dataclass(frozen=True)
class Host:
    """A running host. ``pid``: its process 1, as this machine numbers it."""

    name: str
    address: str
    pid: int
    network: Network

    def command(self, text: str) -> list[str]:
        """What runs ``text`` in a shell on this host."""
        environment = [f"HOME={HOME}", f"PATH={_PYTHON_BIN}:/usr/sbin:/usr/bin:/sbin:/bin", "USER=root", "LANG=C.UTF-8", "TERM=dumb"]
        return ["nsenter", f"--target={self.pid}", "--all", "--root", "env", "-i", *environment, "bash", "-c", f"cd; {text}"]

    def run(self, text: str, timeout: float = 60) -> str:
        """Standard output and error of a command that must succeed."""
        done = subprocess.run(
            self.command(text),
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: `{text}` ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def processes(self, word: str) -> list[str]:
        """Command lines on this host that contain ``word``."""
        listed = self.run("for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f 2>/dev/null; echo; done")
        return [line for line in listed.splitlines() if word in line]

    def write(self, name: str, text: str) -> None:
        """Put a file into the home of this host."""
        Path(f"/proc/{self.pid}/root{HOME}", name).write_text(text)

    def unplug(self) -> None:
        """Take the cable out: packets are lost, nothing is told."""
        self.network.ip("link", "set", f"v-{self.name}", "down")

    def plug_in(self) -> None:
        """Put the cable back."""
        self.network.ip("link", "set", f"v-{self.name}", "up")


class Network:
    """A switch in a network namespace of its own; nothing of it is seen from this machine's network."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._stack = ExitStack()
        self._pid = 0

    def __enter__(self) -> Self:
        process = self._keep(["unshare", "--net", "--fork", "--kill-child", "sleep", "infinity"])
        self._pid = _child(process)
        self.ip("link", "set", "lo", "up")
        self.ip("link", "add", "switch", "type", "bridge")
        self.ip("link", "set", "switch", "up")
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def ip(self, *arguments: str) -> None:
        """Run ``ip`` on the switch."""
        _checked(["nsenter", f"--target={self._pid}", "--net", "ip", *arguments])

    def give_address(self, address: str) -> None:
        """An address for servers that run beside the hosts, with :meth:`command`."""
        self.ip("address", "add", f"{address}/24", "dev", "switch")

    def command(self, arguments: Sequence[str]) -> list[str]:
        """What runs a program of this machine on the switch's network."""
        return ["nsenter", f"--target={self._pid}", "--net", *arguments]

    def host(self, name: str, address: str, keys: Path) -> Host:
        """Start a host; ``keys``: a folder whose files become its ``~/.ssh``."""
        scratch = self._scratch / name
        scratch.mkdir()
        arguments = [name, address, str(scratch), str(keys), str(_PYTHON_BIN), *_SEEN_BY_HOSTS]
        process = self._keep(["unshare", *_NAMESPACES, "--fork", "--kill-child", "bash", str(_INIT), *arguments])
        pid = _child(process)
        _until(lambda: Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink(), "a network namespace")
        self.ip("link", "add", f"v-{name}", "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        self.ip("link", "set", f"v-{name}", "master", "switch", "up")
        for arguments in (["address", "add", f"{address}/24", "dev", "eth0"], ["link", "set", "lo", "up"], ["link", "set", "eth0", "up"]):
            _checked(["nsenter", f"--target={pid}", "--net", "ip", *arguments])
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"host {name} did not start:\n{process.stdout.read()}")
        return Host(name, address, pid, self)

    @contextmanager
    def server(self, arguments: Sequence[str], log: Path) -> Iterator[subprocess.Popen[str]]:
        """A program on the switch's network for the length of the block."""
        with log.open("w") as file:
            process = subprocess.Popen(["setpriv", "--pdeathsig=KILL", *self.command(arguments)], stdout=file, stderr=file, text=True)
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def _keep(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        # should this process be killed, the hosts go with it
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig=KILL", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._stack.callback(_end, process)
        return process


def why_not() -> str | None:
    """The reason why this machine cannot make hosts; ``None`` if it can."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [
        name for name in ("ip", "unshare", "nsenter", "setpriv", "ssh", "ssh-keygen", "/usr/sbin/sshd", "rsync") if not shutil.which(name)
    ]
    if missing:
        return f"needs {', '.join(missing)}: apt-get install iproute2 openssh-client openssh-server rsync util-linux"
    tried = subprocess.run(
        ["unshare", *_NAMESPACES, "--fork", "bash", "-ec", _NEEDED_OF_THE_KERNEL], check=False, capture_output=True, text=True
    )
    return f"this machine allows no namespaces, or no bridges and overlays in them: {tried.stderr.strip()}" if tried.returncode else None


def _checked(arguments: Sequence[str]) -> None:
    done = subprocess.run(arguments, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"`{' '.join(arguments)}` ended with {done.returncode}: {done.stderr.strip()}")


def _child(process: subprocess.Popen[str]) -> int:
    """The process that ``unshare`` forked."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    _until(lambda: bool(children.read_text().split()), "a child of unshare")
    return int(children.read_text().split()[0])


def _until(condition: object, what: str, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds:g} s for {what} in vain")
        time.sleep(0.02)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
