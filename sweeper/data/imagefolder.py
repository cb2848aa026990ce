"""Train and test images from folders, one per class."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sweeper.data.dataset import Labelled, Splits
from sweeper.data.folder import listing
from sweeper.data.images import decode_images
from sweeper.errors import DataError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def read_imagefolder(folder: Path, *, image_size: int | None, progress: Callable[[str], None], glance: bool = False) -> Splits:
    """Train and test images with their labels, and the names of the classes; ``glance``: see :func:`decode_images`.

    Raises:
        DataError: as :func:`class_folders` and :func:`read_split`.
    """
    classes = class_folders(folder)
    train, test = (read_split(folder, name, classes, image_size=image_size, progress=progress, glance=glance) for name in ("train", "test"))
    return train, test, classes


def class_folders(folder: Path) -> tuple[str, ...]:
    """The classes of ``folder``: the names of the folders in ``train/``, in the order of their code points; ``test/`` must have the same.

    Raises:
        DataError: ``train/`` or ``test/`` is missing or holds no folder, their folders differ, or there is but one.
    """
    train, test = (_subfolders(folder, name) for name in ("train", "test"))
    for name, missing in (("test", train - test), ("train", test - train)):
        if missing:
            raise DataError(
                f"{folder / name}: must have the same class folders as {'train' if name == 'test' else 'test'}/, lacks "
                f"{', '.join(sorted(missing)[:5])}{' …' if len(missing) > 5 else ''}"
            )
    if len(train) < 2:
        raise DataError(f"{folder / 'train'}: must hold at least two class folders, found {', '.join(train)} alone")
    return tuple(sorted(train))


def read_split(
    folder: Path, name: str, classes: tuple[str, ...], *, image_size: int | None, progress: Callable[[str], None], glance: bool = False
) -> Labelled:
    """Pixels and labels of ``<name>/<class>/**``: class by class, within one in the order of paths. Files that are no images by their
    suffix, and hidden ones, are passed over. ``glance``: see :func:`decode_images`.

    Raises:
        DataError: a class without images, a file that cannot be read or decoded or has an odd size.
    """
    files: list[Path] = []
    labels: list[int] = []
    for label, class_name in enumerate(classes):
        found = _images(folder / name / class_name)
        files += found
        labels += [label] * len(found)

    def read(index: int) -> bytes:
        try:
            return files[index].read_bytes()
        except OSError as error:
            raise DataError(f"{files[index]}: cannot be read: {error.strerror}") from error

    images = decode_images(
        len(files),
        read,
        lambda index: str(files[index]),
        image_size=image_size,
        progress=lambda n_done: progress(f"{name}: {n_done:,} of {len(files):,} images decoded"),
        glance=glance,
    )
    return images, np.array(labels, dtype=np.int64)


def _subfolders(folder: Path, name: str) -> set[str]:
    try:
        found = {path.name for path in (folder / name).iterdir() if path.is_dir() and not path.name.startswith(".")}
    except OSError as error:
        raise DataError(
            f"{folder / name}: must be a folder with one folder of images per class: {error.strerror}; {folder} holds {listing(folder)}"
        ) from error
    if not found:
        raise DataError(f"{folder / name}: must hold one folder of images per class, found no folder")
    return found


def _images(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be listed: {error.strerror}") from error

    found = sorted(
        path
        for parent, _, names in os.walk(folder, onerror=refuse)
        for path in (Path(parent, name) for name in names)
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        raise DataError(f"{folder}: must hold images ({', '.join(sorted(SUFFIXES))}), found none")
    return found
