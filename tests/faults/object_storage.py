"""A real S3 server on loopback, and a wire to it that can be cut or held."""

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.request

from sweeper.errors import StoreError
from sweeper.store import Folder, find_sweeps

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def s3_server(log, **environment):
    """The address of a server for the length of the block."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **environment})
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/moto-api/", timeout=1).close()  # noqa: S310
                break
            time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def make_bucket(url):
    urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT"), timeout=10).close()  # noqa: S310


def use_storage(monkeypatch, url, cache):
    """The environment of a machine whose object storage answers at ``url``."""
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": url, "SWEEPER_CACHE_DIR": str(cache)}.items():
        monkeypatch.setenv(name, value)


def download(uri, path):
    """The sweep's folder as a copy on this disk, as any S3 client would make it."""
    folder = Folder(uri)
    for name in ("", "trials", "epochs", "predictions", "checkpoints", "tune"):
        (path / name).mkdir(parents=True, exist_ok=True)
        for found in folder.names(name):
            (path / name / found).write_bytes(folder.read(f"{name}/{found}" if name else found))
    return path


def sweeps_in(bucket):
    with contextlib.suppress(StoreError):
        return find_sweeps(bucket)
    return []


class Wire:
    """Passes on what comes to ``url`` to a server; ``cut`` refuses and drops connections, ``hold`` keeps them and lets nothing through."""

    def __init__(self, server):
        self._server = ("127.0.0.1", int(server.rpartition(":")[2]))
        self._port = free_port()
        self._through = threading.Event()
        self._through.set()
        self._open = set()
        self.url = f"http://127.0.0.1:{self._port}"
        self._listen()

    def _listen(self):
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listening.bind(("127.0.0.1", self._port))
        self._listening.listen(64)
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def _accept(self, listening):
        with contextlib.suppress(OSError):
            while True:
                near, _ = listening.accept()
                threading.Thread(target=self._pass_on, args=(near,), daemon=True).start()

    def _pass_on(self, near):
        with contextlib.suppress(OSError), near, socket.create_connection(self._server) as far:
            self._open |= {near, far}
            other = {near: far, far: near}
            while True:
                for ready in select.select([near, far], [], [])[0]:
                    content = ready.recv(1 << 16)
                    if not content:
                        return
                    if not self._through.wait(0):
                        self._through.wait()
                        return  # what was held is lost: its sender has asked again
                    other[ready].sendall(content)

    def cut(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def mend(self):
        self._listen()

    def hold(self):
        self._through.clear()

    def let_through(self):
        self._through.set()

    @contextlib.contextmanager
    def away(self, seconds=0.0):
        """Cut for the length of the block, or for ``seconds`` from its beginning, whichever is longer."""
        self.cut()
        began = time.monotonic()
        try:
            yield
            time.sleep(max(0.0, began + seconds - time.monotonic()))
        finally:
            self.mend()
