"""Whether a sweep's folder may run custom code: without asking if the sweep was begun here, otherwise only with the user's consent."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from sweeper.errors import SweeperError
from sweeper.space import Space, as_override, parse_space, parse_stored_space
from sweeper.store import SweepFolder
from sweeper.store.remote import cache_folder


class CustomCodeError(SweeperError):
    """A sweep from elsewhere whose space names code that the user has not allowed to run."""


def space_to_run(folder: SweepFolder, custom_code: bool | None) -> Space:
    """The space of a sweep that has begun, ready to be trained: its author's losses and model are imported.

    ``custom_code``: whether they may be. ``None``: if the sweep was begun here, or was allowed to once, by this user, in this folder, with
    this space. What is allowed is remembered.

    Raises:
        CustomCodeError: if the user has not allowed it; nothing has been imported.
        SpaceError: as :func:`parse_space`.
    """
    text, source = folder.read_space(), f"{folder}/sweep.yaml"
    stored = parse_stored_space(text, source)
    named = stored.custom_code
    if named and custom_code is None and not _mark(folder, text).exists():
        raise CustomCodeError(
            f"{folder}: was not begun here by you, and would import {', '.join(named)}: code that then runs with your rights. "
            "If you trust it, allow it once with --custom-code (from Python: custom_code=True)"
        )
    searches = as_override("compare.searches", stored.compare.searches)  # which an earlier version did not write
    space = parse_space(text, source, [searches], allow_custom_code=custom_code is not False)
    if named and custom_code:
        trust(folder)
    return space


def trust(folder: SweepFolder) -> None:
    """Remember, in the user's own cache, that the code which this sweep's space names may be run. Where nothing can be kept, it is asked
    for again.
    """
    mark = _mark(folder, folder.read_space())
    with contextlib.suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def _mark(folder: SweepFolder, space: str) -> Path:
    """The file that records the consent for a folder at its place and with the text of its space."""
    place = Path(str(folder)).resolve() if folder.folder.local else folder
    digest = hashlib.sha256(f"{place}\n{space}".encode()).hexdigest()
    return cache_folder(str(folder)).parent / "trusted" / digest
