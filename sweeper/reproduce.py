"""Trains one trial of a sweep again and compares the curves: bit for bit on the CPU, within a tolerance on a GPU."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from sweeper import __version__
from sweeper.custom_code import source_digests
from sweeper.errors import SpaceError, SweeperError
from sweeper.metrics import METRICS
from sweeper.preflight import changed_fingerprint, load_data
from sweeper.records import EPOCH_FIGURES, EpochMetrics, is_absent
from sweeper.store import SweepFolder
from sweeper.store.provenance import git_state, package_versions, processor
from sweeper.store.trust import space_to_run
from sweeper.text import plural
from sweeper.training.custom_loss import MemberFailure
from sweeper.training.loop import make_pack
from sweeper.training.packs import as_arrays
from sweeper.view.text import aligned
from sweeper.view.trial import TrialView, view_trial

COMPARED = tuple(name for name in EPOCH_FIGURES if name not in {"epoch", "epoch_seconds"})
"""Figures of an epoch that training alone decides, besides those of metrics that the space declares."""

ACCURACY_TOLERANCE = 0.02
RELATIVE_TOLERANCE = 0.05
"""On a GPU sums have no fixed order, and the difference of the first step grows: fractions (accuracies, ECE) may differ by two points,
other figures by one part in twenty."""


class ReproduceError(SweeperError):
    """A trial that cannot be trained again: its data, its space or its parameters are gone."""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """``verdict``: ``equal`` to the last bit, ``within_tolerance`` (only where a GPU or operators trained or train it), or ``different``.

    ``largest``: the largest absolute difference of each figure over all epochs; ``first_epoch``: the first that is not bit-equal.
    ``changed``: what is not as it was, by name: then and now.
    """

    sweep: str
    trial: str
    verdict: Literal["equal", "within_tolerance", "different"]
    epochs: int
    device: str
    first_epoch: int | None
    largest: Mapping[str, float]
    changed: Mapping[str, tuple[str, str]]

    @property
    def same(self) -> bool:
        return self.verdict != "different"


def reproduce_trial(
    folder: SweepFolder,
    trial: str,
    *,
    notice: Callable[[str], None] = lambda _: None,
    custom_code: bool | None = None,
    keep_weights: bool = False,
) -> Reproduction:
    """Train a trial as many epochs as it was trained, in this process, and compare. Writes nothing, but where ``keep_weights``, and if the
    curve is the same, the weights of its network into the sweep's folder.

    ``notice`` is told in words what is going on. ``custom_code``: see :func:`sweeper.store.trust.space_to_run`.

    Raises:
        LookError: if there is no such trial.
        ReproduceError: if it has not ended, or its data, space or loss is not there any more.
    """
    view = view_trial(folder, trial)
    try:
        space = space_to_run(folder, custom_code)
    except SpaceError as error:
        raise ReproduceError(f"{folder}: its space cannot be run any more: {'; '.join(map(str.strip, str(error).splitlines()))}") from error
    if view.state in ("running", "interrupted") or view.seed is None:
        raise ReproduceError(f"{folder}: {trial} has not ended yet; wait for it, or go on with: sweep resume {folder}")
    if not view.curve:
        raise ReproduceError(
            f"{folder}: {trial} has trained no epoch, there is nothing to compare with: {view.error or 'it failed at once'}"
        )
    dataset = load_data(space, notice)
    if changed := changed_fingerprint(dataset, view.provenance):
        raise ReproduceError(f"{folder}: the data set has changed since the sweep ({changed}); restore the files to train this trial again")
    device = "cuda" if view.device != "cpu" and torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(space.resources.threads)
    notice(f"training {trial} for {plural(len(view.curve), 'epoch')} on {device}, seed {view.seed}")
    whole = {name for name, kind in space.parameter_types().items() if kind == "int64"}
    parameters = {name: int(value) if name in whole else value for name, value in view.parameters.items()}
    settings = space.training_settings()
    if device == "cpu" and settings.backend == "fused":  # for the GPU that the sweep had
        settings = replace(settings, backend="auto")
    pack = make_pack(dataset, settings, [replace(view.config, parameters=parameters)], device)
    curve: list[EpochMetrics] = []
    for _ in view.curve:
        result = pack.train_epoch()[trial]
        if isinstance(result, MemberFailure):
            raise ReproduceError(f"{folder}: {trial} fails in epoch {len(curve) + 1}: {result.error}\n{result.traceback}")
        curve.append(result)
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    exact = view.device == "cpu" and device == "cpu" and settings.backend != "operators"  # whose sums depend on the company in a pack
    found = _compare(view, curve, name, exact=exact, custom_code=space.custom_code)
    if keep_weights and found.same and (tensors := pack.state_dict(trial)):
        folder.write_weights(view.config, pack.network(trial), as_arrays(tensors))
    return found


def _compare(view: TrialView, curve: list[EpochMetrics], device: str, *, exact: bool, custom_code: Sequence[str] = ()) -> Reproduction:
    pairs = list(zip(view.curve, curve, strict=True))
    differences = {
        name: found
        for name in (*COMPARED, *curve[0].own)
        if (found := [(epoch.epoch, a, b) for epoch, again in pairs if not _equal(name, a := epoch[name], b := again[name])])
    }
    first = min((found[0][0] for found in differences.values()), default=None)
    close = all(_close(name, a, b) for name, found in differences.items() for _, a, b in found)
    return Reproduction(
        sweep=view.sweep,
        trial=view.trial,
        verdict="equal" if first is None else "within_tolerance" if close and not exact else "different",
        epochs=len(curve),
        device=device,
        first_epoch=first,
        largest={name: max(abs(a - b) for _, a, b in found) for name, found in differences.items()},
        changed=_changes(view, device, custom_code),
    )


def _equal(name: str, stored: float, found: float) -> bool:
    """Whether two figures are the same, or the stored one is of an earlier version, which did not have it."""
    return stored == found or (math.isnan(stored) and math.isnan(found)) or is_absent(name, stored)


def _close(name: str, a: float, b: float) -> bool:
    metric = METRICS.get(name.partition("_")[2])
    if metric is not None and metric.is_fraction:
        return abs(a - b) <= ACCURACY_TOLERANCE
    return math.isclose(a, b, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-6)


def _changes(view: TrialView, device: str, custom_code: Sequence[str]) -> dict[str, tuple[str, str]]:
    """What is not as it was when the sweep began: packages, Python, sweeper, the commit, the processor, the device, the user's own code."""
    provenance, state = view.provenance, git_state()
    packages, hardware, recorded = (
        found if isinstance(found := provenance.get(name), dict) else {} for name in ("packages", "hardware", "own_code")
    )
    versions, digests = package_versions(), source_digests(custom_code)
    then_and_now = {
        "sweeper": (provenance.get("sweeper"), __version__),
        "commit": (provenance.get("git_commit"), state["git_commit"]),
        "python": (provenance.get("python"), platform.python_version()),
        "processor": (hardware.get("cpu"), processor()),
        "device": (view.device, device),
        **{name: (version, versions.get(name)) for name, version in packages.items()},
        **{path: (str(recorded[path])[:12], digest[:12]) for path, digest in digests.items() if path in recorded},
    }
    changes = {
        name: (str(then), str(now)) for name, (then, now) in then_and_now.items() if then is not None and now is not None and then != now
    }
    if provenance.get("git_dirty") or state["git_dirty"]:
        changes["changes not committed"] = (_yes(provenance.get("git_dirty")), _yes(state["git_dirty"]))
    return changes


def _yes(value: object) -> str:
    return "yes" if value else "no"


def reproduction_text(found: Reproduction) -> str:
    """What a reproduction found, for a person."""
    epochs = plural(found.epochs, "epoch")
    lines = [
        {
            "equal": f"{found.trial}: equal to the last bit over {epochs} on {found.device}",
            "within_tolerance": f"{found.trial}: within tolerance over {epochs} on {found.device}, equal to the last bit until epoch "
            f"{(found.first_epoch or 1) - 1} (accuracies may differ by {ACCURACY_TOLERANCE}, other figures by {RELATIVE_TOLERANCE:.0%})",
            "different": f"{found.trial}: different from epoch {found.first_epoch} on ({epochs} on {found.device})",
        }[found.verdict]
    ]
    if found.largest:
        lines += ["", "largest differences", *_indented([[name, f"{value:.3g}"] for name, value in found.largest.items()])]
    if found.changed:
        rows = [[name, then, "->", now] for name, (then, now) in found.changed.items()]
        lines += ["", "not as it was", *_indented(rows)]
    elif found.verdict == "different":
        lines += ["", "versions, commit and processor are as they were"]
    return "\n".join(lines)


def _indented(rows: list[list[str]]) -> list[str]:
    return [f"  {line}" for line in aligned(rows).splitlines()]
