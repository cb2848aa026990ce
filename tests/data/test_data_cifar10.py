"""CIFAR-10 from a server on loopback, from an archive and from a folder, whole and damaged; torchvision's reader is the oracle."""

import gzip
import hashlib
import io
import pickle
import socket
import tarfile
import threading
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from encoded_images import encode, pixels, refusal, write_parquet
from torchvision.datasets import CIFAR10

from sweeper.data import cifar10, load_dataset

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BASE = CIFAR10.base_folder


class Python2Pickler(pickle._Pickler):
    """Writes arrays as CIFAR-10's files do: their bytes as a Python 2 string, numpy under the name it had then."""

    def save_global(self, obj, name=None):
        if getattr(obj, "__name__", "") == "_reconstruct":
            self.write(b"cnumpy.core.multiarray\n_reconstruct\n")
        else:
            super().save_global(obj, name)

    def save_bytes(self, obj):
        self.write(pickle.BINSTRING + len(obj).to_bytes(4, "little") + obj)

    dispatch: ClassVar = pickle._Pickler.dispatch | {bytes: save_bytes, types.BuiltinFunctionType: save_global}


def pickled(value):
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def batch(seed, n=20):
    data = np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)
    return pickled({"batch_label": f"batch {seed}", "labels": [(i + seed) % 10 for i in range(n)], "data": data, "filenames": ["x"] * n})


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def archive_of(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in sorted(files.items(), reverse=True):  # in no helpful order, like the real one
            member = tarfile.TarInfo(f"{BASE}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(stream.getvalue(), mtime=0)  # the same bytes at any time of day


def publish(monkeypatch, files):
    """Makes these files what torchvision takes for CIFAR-10; returns the archive."""
    archive = archive_of(files)
    monkeypatch.setattr(CIFAR10, "train_list", [[f"data_batch_{i}", md5(files[f"data_batch_{i}"])] for i in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5(files["test_batch"])]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(files["batches.meta"])})
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive))
    return archive


@pytest.fixture
def files(monkeypatch):
    files = {f"data_batch_{i}": batch(i) for i in range(1, 6)}
    files |= {"test_batch": batch(6), "batches.meta": pickled({"label_names": NAMES, "num_vis": 3072}), "readme.html": b"<html>"}
    publish(monkeypatch, files)
    return files


@pytest.fixture
def extracted(tmp_path, files):
    (tmp_path / BASE).mkdir()
    for name, content in files.items():
        (tmp_path / BASE / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def serve(monkeypatch):
    """A function that puts bytes on a server and makes its address CIFAR-10's; ``requests`` counts what was asked for."""
    servers = []

    def start(content, status=200, length=True):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                servers[0].requests += 1
                self.send_response(status)
                if length:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.requests = 0
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz")
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def load(folder, **options):
    return load_dataset("cifar10", str(folder), **options)


def contents(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_the_images_are_those_that_torchvision_reads(extracted):
    dataset = load(extracted)
    for images, labels, is_train in (
        (dataset.train_images, dataset.train_labels, True),
        (dataset.test_images, dataset.test_labels, False),
    ):
        oracle = CIFAR10(extracted, train=is_train)
        np.testing.assert_array_equal(images, oracle.data)
        assert labels.tolist() == oracle.targets
        assert dataset.classes == tuple(oracle.classes)


def test_it_is_downloaded_once_with_its_progress_told(tmp_path, files, serve):
    server = serve(archive_of(files))
    told = []
    first = load(tmp_path / "new" / "folder", progress=told.append)
    assert told == ["cifar10: downloading, 100 % of 0 MB", "cifar10: reading cifar-10-python.tar.gz"]
    assert load(tmp_path / "new" / "folder").fingerprint == first.fingerprint
    assert server.requests == 1
    assert contents(tmp_path / "new" / "folder") == ["cifar-10-python.tar.gz"]


def test_archive_and_folder_hold_the_same_data_set_whichever_is_named(extracted, files, tmp_path_factory):
    other = tmp_path_factory.mktemp("archive")
    (other / CIFAR10.filename).write_bytes(archive_of(files))
    assert load(other).fingerprint == load(extracted).fingerprint == load(extracted / BASE).fingerprint


def test_without_a_folder_it_goes_to_the_cache(tmp_path, files, serve, monkeypatch):
    serve(archive_of(files))
    monkeypatch.delenv("SWEEPER_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    load_dataset("cifar10")
    assert (tmp_path / "cache" / "sweeper" / "cifar10" / CIFAR10.filename).is_file()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    load_dataset("cifar10")
    assert (tmp_path / "home" / ".cache" / "sweeper" / "cifar10" / CIFAR10.filename).is_file()


def assert_names_the_ways_out(message):
    for way_out in ("--data-dir DIR", "--dataset parquet --data-dir DIR", "--dataset synthetic"):
        assert way_out in message


def test_a_refused_connection_names_the_ways_out_and_leaves_nothing_behind(tmp_path, files, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{port}/x")
    message = refusal(lambda: load(tmp_path))
    assert message.startswith(f"http://127.0.0.1:{port}/x: CIFAR-10 cannot be downloaded ([Errno 111] Connection refused); ")
    assert_names_the_ways_out(message)
    assert contents(tmp_path) == []


def test_a_server_that_never_answers_is_given_up(tmp_path, files, monkeypatch):
    monkeypatch.setattr(cifar10, "TIMEOUT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{silent.getsockname()[1]}/x")
        message = refusal(lambda: load(tmp_path))
    assert "CIFAR-10 cannot be downloaded (timed out); " in message
    assert_names_the_ways_out(message)
    assert contents(tmp_path) == []


@pytest.mark.parametrize("status", [404, 503])
def test_an_answer_that_is_no_archive_names_the_ways_out(tmp_path, files, serve, status):
    serve(b"sorry", status)
    message = refusal(lambda: load(tmp_path))
    assert f"CIFAR-10 cannot be downloaded ({'Not Found' if status == 404 else 'Service Unavailable'}); " in message
    assert_names_the_ways_out(message)
    assert contents(tmp_path) == []


@pytest.mark.parametrize("length", [True, False])
def test_a_download_that_is_something_else_is_thrown_away(tmp_path, files, serve, length):
    serve(archive_of(files)[:-1], length=length)
    message = refusal(lambda: load(tmp_path))
    assert f"the download is not CIFAR-10: its MD5 must be {CIFAR10.tgz_md5}, got " in message
    assert_names_the_ways_out(message)
    assert contents(tmp_path) == []


def test_a_download_without_end_is_stopped(tmp_path, files, serve, monkeypatch):
    monkeypatch.setattr(cifar10, "MAX_ARCHIVE_BYTES", 1000)
    serve(archive_of(files))
    assert "it is longer than 1,000 bytes" in refusal(lambda: load(tmp_path))
    assert contents(tmp_path) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path, files):
    (tmp_path / "file").touch()
    assert refusal(lambda: load(tmp_path / "file" / "below")) == (
        f"dataset.data_dir: '{tmp_path}/file/below': cannot be listed: Not a directory"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_from_a_missing_network(tmp_path, files, serve, monkeypatch):
    serve(archive_of(files))
    real_open = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode="r": real_open(Path("/dev/full") if mode == "wb" else path, mode))
    assert refusal(lambda: load(tmp_path)) == (
        f"{tmp_path}/cifar-10-python.tar.gz: cannot be written: No space left on device; name a folder that can be as --data-dir DIR"
    )


def test_a_damaged_archive_is_named(tmp_path, files):
    path = tmp_path / CIFAR10.filename
    path.write_bytes(archive_of(files)[:-7])
    message = refusal(lambda: load(tmp_path))
    assert message.startswith(f"{path}: is damaged or not CIFAR-10: its MD5 must be {CIFAR10.tgz_md5}, got ")
    assert message.endswith("; delete it to have CIFAR-10 downloaded again")


@pytest.mark.parametrize("content", [b"no archive", b"\x1f\x8b\x08\0garbage"])
def test_an_archive_of_the_right_checksum_that_cannot_be_unpacked_is_named(tmp_path, files, monkeypatch, content):
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(content))
    (tmp_path / CIFAR10.filename).write_bytes(content)
    assert refusal(lambda: load(tmp_path)).startswith(f"{tmp_path}/{CIFAR10.filename}: cannot be unpacked: ")


def test_an_archive_that_lacks_a_batch_is_named(tmp_path, files, monkeypatch):
    archive = archive_of({name: content for name, content in files.items() if name != "data_batch_3"})
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive))
    (tmp_path / CIFAR10.filename).write_bytes(archive)
    assert refusal(lambda: load(tmp_path)).startswith(f"{tmp_path}/{CIFAR10.filename}: data_batch_3: is damaged or not CIFAR-10: ")


def test_a_missing_or_damaged_file_of_the_folder_is_named(extracted):
    path = extracted / BASE / "data_batch_2"
    path.write_bytes(path.read_bytes()[:-1])
    way_out = f"move {extracted / BASE} away to have CIFAR-10 downloaded again"
    message = refusal(lambda: load(extracted))
    assert message.startswith(f"{path}: is damaged or not CIFAR-10: its MD5 must be ")
    assert message.endswith(way_out)
    path.unlink()
    assert refusal(lambda: load(extracted)) == f"{path}: cannot be read: No such file or directory; {way_out}"


def test_parquet_files_in_place_of_the_archive_are_recognised(tmp_path, files):
    write_parquet(tmp_path / "train.parquet", [encode(pixels(1)[0])], [0])
    assert refusal(lambda: load(tmp_path)) == (
        f"{tmp_path}: holds no CIFAR-10 archive, but Parquet files (train.parquet); use --dataset parquet --data-dir {tmp_path}"
    )


class RanError(Exception):
    """Raised by the code in a hostile pickle."""


def run_me():
    raise RanError


class Hostile:
    def __reduce__(self):
        return run_me, ()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (pickle.dumps({"data": Hostile(), "labels": []}), "cannot be read: test_data_cifar10.run_me is not allowed in it"),
        (b"cos\nsystem\n(S'true'\ntR.", "cannot be read: os.system is not allowed in it"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "cannot be read: builtins.eval is not allowed in it"),
        (b"", "cannot be read: Ran out of input"),
        (b"\x80\x02]q\x00.", "must hold a dictionary, got list"),
        (pickle.dumps({}), "must hold data, uint8 (n, 3072), and as many labels of 0..9"),
        (pickle.dumps({"data": np.zeros((2, 3072)), "labels": [0, 1]}), "must hold data, uint8 (n, 3072), and as many labels of 0..9"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}), "must hold data, uint8"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 10]}), "must hold data, uint8"),
    ],
)
def test_a_hostile_batch_of_the_right_checksum_runs_nothing(extracted, files, monkeypatch, content, problem):
    (extracted / BASE / "data_batch_4").write_bytes(content)
    publish(monkeypatch, files | {"data_batch_4": content})
    assert refusal(lambda: load(extracted)).startswith(f"data_batch_4: {problem}")


@pytest.mark.parametrize("names", [None, NAMES[:9], [*NAMES[:9], 3]])
def test_names_of_classes_that_are_not_ten_texts_are_refused(extracted, files, monkeypatch, names):
    content = pickle.dumps({"label_names": names})
    (extracted / BASE / "batches.meta").write_bytes(content)
    publish(monkeypatch, files | {"batches.meta": content})
    assert refusal(lambda: load(extracted)) == f"batches.meta: label_names: must name 10 classes, got {names!r:.100}"
