"""Where the files of a data set are, and which are there."""

from __future__ import annotations

import os
from pathlib import Path

from sweeper.errors import DataError

ENVIRONMENT_VARIABLE = "SWEEPER_DATA_DIR"


def data_folder(name: str, data_dir: str | None) -> Path:
    """The folder of data set ``name``: ``data_dir``, else the environment's SWEEPER_DATA_DIR, else (CIFAR-10 alone) a cache of our own.

    The cache is ``sweeper/cifar10`` under XDG_CACHE_HOME or ``~/.cache``; it and CIFAR-10's ``data_dir`` need not exist yet.

    Raises:
        DataError: no folder is named and the data set has no cache, or the folder does not exist or cannot be listed.
    """
    named = data_dir or os.environ.get(ENVIRONMENT_VARIABLE)
    if named is None or named == "":
        if name != "cifar10":
            raise DataError(
                f"dataset.data_dir: must name the folder of the {name} data set; pass --data-dir DIR or set {ENVIRONMENT_VARIABLE}"
            )
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sweeper" / "cifar10"
    try:
        folder = Path(named).expanduser()
        next(folder.iterdir(), None)
    except FileNotFoundError:
        if name == "cifar10":
            return folder
        raise DataError(f"dataset.data_dir: {named}: no such folder; pass the folder of the {name} data set as --data-dir DIR") from None
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: ~ of an unknown user; ValueError: a NUL in the name
        raise DataError(f"dataset.data_dir: {named!r}: cannot be listed: {getattr(error, 'strerror', None) or error}") from error
    return folder


def listing(folder: Path) -> str:
    """The first names in a folder, for an error that says what was found."""
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "nothing"
