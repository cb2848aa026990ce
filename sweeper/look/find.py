"""Which sweep, and which of its trials, somebody means."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from sweeper.errors import NoSweepError, SweeperError
from sweeper.space.wording import nearest, shown
from sweeper.store import SweepFolder, find_sweeps

MOST_LISTED = 10
_TIME = re.compile(r"-\d{8}-\d{6}(-\d+)?$")


class LookError(SweeperError):
    """A sweep or trial that is not there; the message names the nearest one that is."""


def find_sweep(name: str | None, results: str) -> SweepFolder:
    """The sweep called ``name``: its folder, its id below ``results``, or the beginning of one id. ``None``: the newest below ``results``.

    A folder that holds sweeps means the newest of them.

    Raises:
        NoSweepError: if ``results`` holds no sweep.
        StoreError: if the storage cannot be asked, which says nothing about what it holds.
        LookError: if there is none of this name, with the nearest one.
    """
    if name is None:
        return find_sweeps(results)[-1]
    name = name.rstrip("/") or "/"
    for uri in (name, f"{results.rstrip('/')}/{name}"):
        try:
            return find_sweeps(uri)[-1]
        except NoSweepError:
            continue
    sweeps = find_sweeps(results)
    beginning = [sweep for sweep in sweeps if sweep.id.startswith(name)]
    if len(beginning) == 1:
        return beginning[0]
    if beginning:
        raise LookError(
            f"several sweeps begin with {shown(name)} in {results}: {', '.join(sweep.id for sweep in beginning[-MOST_LISTED:])}"
        )
    raise LookError(f"no sweep {shown(name)} in {results}; {_nearest_sweep(name, [sweep.id for sweep in sweeps])}")


def _nearest_sweep(name: str, ids: list[str]) -> str:
    """What to type: the nearest id, or the newest sweep whose name, without its time, is near."""
    newest = {_TIME.sub("", sweep_id): sweep_id for sweep_id in ids}
    close = difflib.get_close_matches(name, newest, n=1)
    return nearest(name, ids[-MOST_LISTED:]) if not close else f"did you mean {shown(newest[close[0]])}?"


def find_trial(name: str, trials: Iterable[str], sweep: SweepFolder) -> str:
    """``name`` itself, if the sweep has such a trial.

    Raises:
        LookError: if it has none, with the nearest one.
    """
    known = list(trials)
    if name in known:
        return name
    if not known:
        raise LookError(f"{sweep}: no trial {shown(name)}: none has trained an epoch yet")
    raise LookError(f"{sweep}: no trial {shown(name)}; {nearest(name, known if len(known) <= 30 else [*known[:29], '…'])}")
