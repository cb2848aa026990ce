"""Finds the sweep, and the trial, that the user means."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

import pandas as pd

from sweeper.errors import NoSweepError, SweeperError
from sweeper.store import Folder, SweepFolder, find_sweeps
from sweeper.text import nearest, shown

MOST_LISTED = 10
_TIME = re.compile(r"-\d{8}-\d{6}(-\d+)?$")


class LookError(SweeperError):
    """A sweep or trial that is not there; the message names the nearest one that is."""


def find_sweep(name: str | None, results: str) -> SweepFolder:
    """The sweep that ``name`` means, as :func:`find_named`; of several, the newest."""
    return find_named(name, results)[-1]


def find_named(name: str | None, results: str) -> list[SweepFolder]:
    """The one sweep called ``name``: its folder or URI, its id below ``results``, or the beginning of either. ``None``: the newest there.

    A folder that holds sweeps means all of them, oldest first.

    Raises:
        NoSweepError: if ``results`` holds no sweep.
        StoreError: if the storage cannot be asked, which says nothing about what it holds.
        LookError: if there is none of this name, with the nearest one, or several begin with it.
    """
    if name is None:
        return find_sweeps(results)[-1:]
    if not name.strip():
        raise LookError(f"the sweep's name is empty; leave it out to mean the newest in {results}")
    folder = name.rstrip("/") or "/"
    problems = {}
    for uri in [folder] if folder.startswith((".", "/")) else [folder, f"{results.rstrip('/')}/{folder}"]:
        try:
            return find_sweeps(uri)
        except NoSweepError as error:
            problems[uri] = error
    parent, slash, beginning = folder.rpartition("/")
    where = parent or slash or results
    there = next((problem for uri, problem in problems.items() if Folder(uri).exists()), None)
    try:
        sweeps = find_sweeps(where)
    except NoSweepError as error:
        raise there or error from None
    found = [sweep for sweep in sweeps if sweep.id.startswith(beginning)]
    if len(found) == 1:
        return found
    if found:
        newest_first = ", ".join(sweep.id for sweep in found[: -MOST_LISTED - 1 : -1])
        raise LookError(f"several sweeps begin with {shown(beginning)} in {where}: {newest_first}; give more of the one you mean")
    if there is not None:
        raise there
    raise LookError(f"no sweep {shown(beginning)} in {where}; {_nearest_sweep(beginning, [sweep.id for sweep in sweeps])}")


def find_sweep_and_trial(name: str | None, trial: str | None, results: str) -> tuple[SweepFolder, str | None]:
    """The sweep that ``name`` means, and ``trial``. Without ``trial``, ``name`` may be a trial of the newest sweep below ``results``.

    A trial takes precedence over a sweep whose id only begins like it: ``focal-2`` is the trial, ``focal-2026`` the sweep.

    Raises:
        StoreError, LookError: as :func:`find_named`.
    """
    if trial is not None:
        return find_sweep(name, results), trial
    sweep, problem = None, None
    try:
        sweep = find_sweep(name, results)
    except LookError as error:
        problem = error
    if name is not None and "/" not in name and (sweep is None or (sweep.id != name and sweep.id.startswith(name))):
        newest = find_sweep(None, results)
        trials = known_trials(newest.read_trials().frame, newest.read_epochs().frame)
        if name in trials:
            return newest, name
        if problem is not None:
            close = difflib.get_close_matches(name, trials, n=1)
            hint = f"did you mean its trial {shown(close[0])}?" if close else "it has no trial of this name either"
            problem = LookError(f"{problem}\nthe newest sweep is {newest.id}; {hint}")
    if sweep is None:
        raise problem or LookError(f"no sweep {shown(name)}")
    return sweep, None


def known_trials(trials: pd.DataFrame, epochs: pd.DataFrame) -> list[str]:
    """Names of the trials that have ended, then of those that have trained an epoch so far."""
    return list(dict.fromkeys([*trials["trial"], *epochs["trial"]]))


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
