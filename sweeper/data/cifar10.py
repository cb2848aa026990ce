"""CIFAR-10 as its authors publish it: one archive, downloaded once, verified by checksum, and read without executing anything in it."""

from __future__ import annotations

import hashlib
import http.client
import io
import pickle
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.data.dataset import Labelled, Splits, black_images
from sweeper.data.folder import listing
from sweeper.errors import DataError

SIDE = 32
N_CLASSES = 10
TIMEOUT_SECONDS = 15
MAX_ARCHIVE_BYTES = 2**29  # the archive has 170,498,071 bytes
BLOCK_BYTES = 2**20
WAYS_OUT = (
    "pass a folder that holds cifar-10-python.tar.gz, fetched elsewhere, as --data-dir DIR, or use --dataset parquet --data-dir DIR with "
    "Parquet files, or --dataset synthetic, which needs no download"
)


def read_cifar10(folder: Path, *, progress: Callable[[str], None]) -> Splits:
    """Train and test images with their labels, and the names of the classes, equal to those of ``torchvision.datasets.CIFAR10``.

    ``folder`` holds what torchvision leaves there, ``cifar-10-batches-py/`` or ``cifar-10-python.tar.gz``; where it has neither, the
    archive is downloaded into it. Names, address and checksums are torchvision's.

    Raises:
        DataError: no network, no room, or a file that is missing, damaged or not the one its checksum belongs to. A download that fails
            leaves nothing behind.
    """
    from torchvision.datasets import CIFAR10

    checksums = dict([*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])])
    extracted = folder if folder.name == CIFAR10.base_folder else folder / CIFAR10.base_folder
    archive = folder / CIFAR10.filename
    if extracted.is_dir():
        files = _read_folder(extracted, checksums)
    else:
        if not archive.exists():
            _refuse_other_data(folder)
            _download(CIFAR10.url, archive, CIFAR10.tgz_md5, progress)
        progress(f"cifar10: reading {archive.name}")
        files = _read_archive(archive, CIFAR10.tgz_md5, CIFAR10.base_folder, checksums)
    train = [_batch(name, files[name]) for name, _ in CIFAR10.train_list]
    test = [_batch(name, files[name]) for name, _ in CIFAR10.test_list]
    names = _unpickle(CIFAR10.meta["filename"], files[CIFAR10.meta["filename"]]).get(CIFAR10.meta["key"])
    if not isinstance(names, list) or len(names) != N_CLASSES or not all(isinstance(name, str) for name in names):
        raise DataError(f"{CIFAR10.meta['filename']}: {CIFAR10.meta['key']}: must name {N_CLASSES} classes, got {names!r:.100}")
    return _joined(train), _joined(test), tuple(names)


def glance(folder: Path) -> Splits:
    """What :func:`read_cifar10` gives, with black images, labels in order and numbers for names: neither reads nor downloads anything.

    Raises:
        DataError: the folder holds another data set.
    """
    if not is_there(folder):
        _refuse_other_data(folder)
    train_labels, test_labels = (np.arange(n, dtype=np.int64) % N_CLASSES for n in (50_000, 10_000))
    return *black_images(train_labels, test_labels, SIDE), tuple(map(str, range(N_CLASSES)))


def is_there(folder: Path) -> bool:
    """Whether CIFAR-10 lies in ``folder``, so that nothing would be downloaded. The names are torchvision's, which takes long to import."""
    extracted = "cifar-10-batches-py"
    return folder.name == extracted or (folder / extracted).is_dir() or (folder / "cifar-10-python.tar.gz").exists()


def _refuse_other_data(folder: Path) -> None:
    if folder.is_dir() and any(folder.glob("*.parquet")):
        raise DataError(
            f"{folder}: holds no CIFAR-10 archive, but Parquet files ({listing(folder)}); use --dataset parquet --data-dir {folder}"
        )


def _read_folder(extracted: Path, checksums: Mapping[str, str]) -> dict[str, bytes]:
    files = {}
    for name, checksum in checksums.items():
        path = extracted / name
        try:
            files[name] = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}; move {extracted} away to have CIFAR-10 downloaded again") from error
        _verify(path, files[name], checksum, f"move {extracted} away to have CIFAR-10 downloaded again")
    return files


def _read_archive(archive: Path, archive_checksum: str, base_folder: str, checksums: Mapping[str, str]) -> dict[str, bytes]:
    """The files in the archive, without writing them anywhere."""
    way_out = "delete it to have CIFAR-10 downloaded again"
    try:
        content = archive.read_bytes()
    except OSError as error:
        raise DataError(f"{archive}: cannot be read: {error.strerror}") from error
    _verify(archive, content, archive_checksum, way_out)
    files = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as members:
            for member in members:  # in the archive's order: to seek back is to unpack again from the start
                folder, _, name = member.name.rpartition("/")
                if folder == base_folder and name in checksums and (content_of := members.extractfile(member)):
                    files[name] = content_of.read()
    except Exception as error:
        raise DataError(f"{archive}: cannot be unpacked: {error or type(error).__name__}; {way_out}") from error
    for name, checksum in checksums.items():
        _verify(f"{archive}: {name}", files.get(name, b""), checksum, way_out)
    return files


def _verify(place: Path | str, content: bytes, checksum: str, way_out: str) -> None:
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != checksum:
        raise DataError(
            f"{place}: is damaged or not CIFAR-10: its MD5 must be {checksum}, got {found} of {len(content):,} bytes; {way_out}"
        )


def _download(url: str, archive: Path, checksum: str, progress: Callable[[str], None]) -> None:
    """Writes the archive aside, checks it, and only then gives it its name."""
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".download-") as aside:
            part = Path(aside, archive.name)
            with part.open("wb") as file:
                digest = hashlib.md5(usedforsecurity=False)
                for block in _blocks(url, progress):
                    file.write(block)
                    digest.update(block)
                if digest.hexdigest() != checksum:
                    raise DataError(
                        f"{url}: the download is not CIFAR-10: its MD5 must be {checksum}, got {digest.hexdigest()} of "
                        f"{file.tell():,} bytes; try again, or {WAYS_OUT}"
                    )
            part.replace(archive)
    except OSError as error:
        raise DataError(f"{archive}: cannot be written: {error.strerror or error}; name a folder that can be as --data-dir DIR") from error


def _blocks(url: str, progress: Callable[[str], None]) -> Iterator[bytes]:
    """What the server sends, telling of each whole percent (of each MB where the server does not say how much comes)."""
    n_bytes, told = 0, ""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310  # torchvision's address
            total = int(response.headers.get("Content-Length") or 0)
            while block := response.read(BLOCK_BYTES):
                n_bytes += len(block)
                if n_bytes > MAX_ARCHIVE_BYTES:
                    raise DataError(f"{url}: the download is not CIFAR-10: it is longer than {MAX_ARCHIVE_BYTES:,} bytes; {WAYS_OUT}")
                share = f"{100 * n_bytes // total} % of {total / 1e6:.0f} MB" if total else f"{n_bytes // 10**6} MB"
                if share != told:
                    progress(f"cifar10: downloading, {share}")
                    told = share
                yield block
    except (OSError, http.client.HTTPException, ValueError) as error:  # URLError and time-outs are OSErrors
        reason = getattr(error, "reason", None) or error
        raise DataError(f"{url}: CIFAR-10 cannot be downloaded ({reason}); {WAYS_OUT}") from error


def _batch(name: str, content: bytes) -> Labelled:
    """Images and labels of one batch, which stores its pixels channel by channel."""
    entry = _unpickle(name, content)
    data, labels = entry.get("data"), entry.get("labels")
    if (
        not isinstance(data, np.ndarray)
        or not isinstance(labels, list)
        or data.dtype != np.uint8
        or data.shape != (len(labels), 3 * SIDE * SIDE)
        or not all(isinstance(label, int) and 0 <= label < N_CLASSES for label in labels)
    ):
        raise DataError(f"{name}: must hold data, uint8 (n, {3 * SIDE * SIDE}), and as many labels of 0..{N_CLASSES - 1}")
    return data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1), np.array(labels, dtype=np.int64)


def _joined(batches: Sequence[Labelled]) -> Labelled:
    return np.concatenate([images for images, _ in batches]), np.concatenate([labels for _, labels in batches])


class _ArraysOnly(pickle.Unpickler):
    """Unpickles plain containers, numbers, text and numpy arrays, and calls nothing else, whatever the file says."""

    # numpy's own constructor, under the name it had when CIFAR-10 was written and the one it has now
    _RECONSTRUCT = np.empty(0).__reduce__()[0]
    _ALLOWED: Mapping[tuple[str, str], Any] = {
        ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in it")
        return self._ALLOWED[module, name]


def _unpickle(name: str, content: bytes) -> dict[Any, Any]:
    """The dictionary in a pickle that Python 2 wrote."""
    try:
        entry = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a hostile pickle can make numpy and pickle raise nearly anything
        raise DataError(f"{name}: cannot be read: {error or type(error).__name__}") from error
    if not isinstance(entry, dict):
        raise DataError(f"{name}: must hold a dictionary, got {type(entry).__name__}")
    return entry
