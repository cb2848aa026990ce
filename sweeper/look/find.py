"""Which sweep, and which of its trials, somebody means."""

from __future__ import annotations

from collections.abc import Iterable

from sweeper.errors import StoreError, SweeperError
from sweeper.space.wording import nearest, shown
from sweeper.store import SweepFolder, find_sweeps


class LookError(SweeperError):
    """A sweep or trial that is not there; the message names the nearest one that is."""


def find_sweep(name: str | None, results: str) -> SweepFolder:
    """The sweep called ``name``: its folder, its id below ``results``, or the beginning of one id. ``None``: the newest below ``results``.

    A folder that holds sweeps means the newest of them.

    Raises:
        StoreError: if ``results`` holds no sweep.
        LookError: if there is none of this name, with the nearest one.
    """
    if name is None:
        return find_sweeps(results)[-1]
    name = name.rstrip("/") or "/"
    for uri in (name, f"{results.rstrip('/')}/{name}"):
        try:
            return find_sweeps(uri)[-1]
        except StoreError:
            continue
    sweeps = find_sweeps(results)
    beginning = [sweep for sweep in sweeps if sweep.id.startswith(name)]
    if len(beginning) == 1:
        return beginning[0]
    ids = [sweep.id for sweep in beginning or sweeps]
    raise LookError(f"{'several sweeps begin with' if beginning else 'no sweep'} {shown(name)} in {results}; {nearest(name, ids[-10:])}")


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
