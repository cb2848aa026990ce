"""What ``list``, ``status`` and ``show`` print."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise

from sweeper.metrics import best_of
from sweeper.records import VAL_METRICS, Phase, TrialState, is_absent
from sweeper.store.provenance import hardware_text, repository_lines
from sweeper.text import plural, printable
from sweeper.trial_counts import Part
from sweeper.view.status import Status
from sweeper.view.sweeps import SearchView, SweepLine, SweepView
from sweeper.view.trial import TrialView
from sweeper.view.wording import best_text, duration, eta_text, pace_text, parameters_text, saved_text, searches_text, value_text

BARS = "▁▂▃▄▅▆▇█"
WIDEST_SPARKLINE = 40


def sparkline(values: Sequence[float], width: int = WIDEST_SPARKLINE) -> str:
    """Values as bars from the lowest to the highest of them; more than ``width`` are averaged in groups; ``×`` is not a number."""
    if len(values) > width:
        edges = [len(values) * index // width for index in range(width + 1)]
        values = [math.fsum(values[low:high]) / (high - low) for low, high in pairwise(edges)]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "×" * len(values)
    low, span = min(finite), max(finite) - min(finite)
    return "".join(_bar((value - low) / span if span else 0.5) if math.isfinite(value) else "×" for value in values)


def _bar(share: float) -> str:
    return BARS[min(int(share * len(BARS)), len(BARS) - 1)]


def list_text(sweeps: Sequence[SweepLine], width: int) -> str:
    """One line per sweep, oldest first; the best trials, or what is wrong, on lines of their own where ``width`` is too small for them."""
    rows = [["sweep", "state", "started", "arms", "trials", "failed"]]
    bests = ["best"]
    for sweep in sweeps:
        if sweep.problem is not None:
            rows.append([printable(sweep.sweep), "unreadable", "", "", "", ""])
            bests.append(printable(sweep.problem))
            continue
        bests.append(f"{sweep.metric} {sweep.best.value:.4f} {printable(sweep.best.trial)}" if sweep.best else "-")
        rows.append(
            [
                printable(sweep.sweep),
                sweep.state or "",
                _minute(sweep.started_at),
                str(sweep.arms),
                f"{sweep.ended}/{sweep.planned}",
                str(sweep.failed),
            ]
        )
    return "\n".join(_beside_or_below(aligned(rows, right={3, 4, 5}).splitlines(), bests, width))


def _beside_or_below(table: Sequence[str], texts: Sequence[str], width: int) -> list[str]:
    """A column more for a table, of which the first line is the heading, or without heading and below each line where it is too wide."""
    longest = max(map(len, table))
    beside = [f"{line:<{longest}}  {text}".rstrip() for line, text in zip(table, texts, strict=True)]
    if max(map(len, beside)) <= width:
        return beside
    below = [table[0]]
    for line, text in zip(table[1:], texts[1:], strict=True):
        below += [line, *textwrap.wrap(text, max(20, width), initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)]
    return below


def status_text(status: Status) -> str:
    """How far one sweep is."""
    snapshot = status.snapshot
    confirms = {part.arm: part for part in snapshot.phase_parts(Phase.CONFIRM)}
    rows = [["arm", "search", "running", "pruned", "diverged", "failed", "confirm", "best"]]
    rows += [_arm_row(search, confirms[search.arm]) for search in snapshot.phase_parts(Phase.SEARCH)]
    notes = [
        f"best     {best_text(snapshot.best, snapshot.metric)}" if snapshot.best else None,
        f"pace     {', '.join(filter(None, [pace_text(snapshot), eta_text(snapshot)]))}" if status.state == "running" else None,
        f"pruner   {text}" if (text := saved_text(snapshot)) else None,
        f"failed   {printable(snapshot.first_failure)}" if snapshot.first_failure else None,
        f"next     {next_command(status)}",
    ]
    return "\n".join([headline(status), "", aligned(rows, right=set(range(1, 8))), "", *filter(None, notes)])


def headline(status: Status) -> str:
    """``focal-20260101-120000: running, 41 of 120 trials, 0:03:12 since it began``."""
    snapshot = status.snapshot
    by = f" (process {printable(status.owner)})" if status.owner else ""
    told = [
        f"{printable(snapshot.sweep)}: {status.state}{by}",
        searches_text(snapshot),
        f"{snapshot.total('ended')} of {plural(snapshot.total('planned'), 'trial')}",
        plural(snapshot.epochs, "epoch"),
        duration(snapshot.seconds),
    ]
    return ", ".join(filter(None, told))


def next_command(status: Status) -> str:
    """What one would type next."""
    verb = {"running": "status", "interrupted": "resume", "finished": "report"}[status.state]
    return f"sweep {verb} {printable(status.folder)}"


def sweep_text(view: SweepView, width: int) -> str:
    """The best trial of each search; parameters on lines of their own where ``width`` is too small for them."""
    metric = view.status.snapshot.metric
    found = [(arm.arm, search) for arm in view.arms for search in arm.searches]
    rows = [["arm", "best trial", metric, "curve", "seeds", "test accuracy"]]
    rows += [_best_row(arm, search, metric) for arm, search in found]
    chosen = ["parameters", *(parameters_text(search.parameters) for _, search in found)]
    beside = _beside_or_below(aligned(rows, right={2, 4, 5}).splitlines(), chosen, width)
    footer = [f"next     {view.show}" if view.show else f"next     {next_command(view.status)}"]
    return "\n".join([headline(view.status), "", *beside, "", *(f"problem  {problem}" for problem in view.problems), *footer])


def trial_text(view: TrialView) -> str:
    """Everything about one trial; the metric that its sweep searched by comes first."""
    epochs = plural(len(view.curve), "epoch")
    seconds = f" in {view.train_seconds:.1f} s" if view.train_seconds is not None else ""
    device = f" on {printable(view.device)}" if view.device else ""
    search = f", search {view.search} of {view.searches}" if view.searches > 1 else ""
    seed = f", seed {view.seed}" if view.seed is not None else ""
    attempts = f", attempt {view.attempts}" if view.attempts else ""
    lines = [
        f"{printable(view.trial)} of {printable(view.sweep)}: {view.state} after {epochs}{seconds}{device}",
        f"arm {printable(view.arm)}{search}, phase {view.phase}{seed}{attempts}",
    ]
    if view.error:
        lines.append(f"error: {printable(view.error)}")
    if view.diverged_epoch is not None:
        lines.append(f"a loss or the search metric was not finite in epoch {view.diverged_epoch}")
    if view.curve:
        lines += ["", _curves(view)]
    for heading, items in (
        ("parameters", [[name, value_text(value)] for name, value in view.parameters.items()]),
        ("test split", [[name, f"{value:.4f}"] for name, value in view.test.items()]),
        ("provenance", list(_provenance(view))),
    ):
        if items:
            lines += ["", heading, *(f"  {line}" for line in aligned(items).splitlines())]
    if view.traceback:
        lines += ["", "traceback", *(f"  {printable(line)}".rstrip() for line in view.traceback.splitlines())]
    if view.curve and view.state not in ("running", "interrupted"):
        lines += ["", "train it again", f"  {view.reproduce}"]
    if view.state == TrialState.FAILED:
        lines += ["", "try the failed trials once more", f"  {view.retry}"]
    return "\n".join(lines)


def _curves(view: TrialView) -> str:
    rows = [["", "epoch 1", "", "last", "best", "at epoch"]]
    for name in dict.fromkeys([view.metric, *VAL_METRICS, *view.curve[0].own, "train_loss", "train_accuracy", "learning_rate"]):
        values = [epoch[name] for epoch in view.curve]
        if all(is_absent(name, value) or (view.is_own_loop and math.isnan(value)) for value in values):
            continue
        best = best_of(name, range(len(values)), values.__getitem__) if name != "learning_rate" else None
        at = [_number(values[best]), str(best + 1)] if best is not None else ["", ""]
        rows.append([name, _number(values[0]), sparkline(values), _number(values[-1]), *at])
    return aligned(rows, right={1, 3, 4, 5})


def _provenance(view: TrialView) -> Iterable[list[str]]:
    provenance = view.provenance
    dataset = provenance.get("dataset")
    packages = provenance.get("packages")
    if provenance.get("started_at"):
        yield ["sweep began", printable(str(provenance["started_at"]))]
    if provenance.get("command"):
        yield ["command", printable(str(provenance["command"]))]
    if isinstance(dataset, dict):
        yield ["data", printable(f"{dataset.get('name')}, fingerprint {str(dataset.get('fingerprint'))[:12]}")]
    models = provenance.get("model")
    for model in models if isinstance(models, list) else [models]:
        if isinstance(model, dict) and "loop" in model:
            yield ["loop", printable(str(model["loop"]))]
        elif isinstance(model, dict):
            arguments = "".join(f", {name}={value}" for name, value in (model.get("arguments") or {}).items())
            yield ["model", printable(f"{model.get('name')}{arguments}, {model.get('weights')} weights")]
    if hardware := hardware_text(provenance):
        yield ["hardware", hardware]
    if provenance.get("git_commit"):
        yield ["commit", printable(str(provenance["git_commit"])[:12]) + (", with changes" if provenance.get("git_dirty") else "")]
    for line in repository_lines(provenance.get("repositories")):
        yield ["your code", printable(line)]
    if isinstance(packages, dict):
        versions = {"sweeper": provenance.get("sweeper"), "python": provenance.get("python"), **packages}
        yield ["versions", printable(", ".join(f"{name} {version}" for name, version in versions.items()))]


def _arm_row(search: Part, confirm: Part) -> list[str]:
    return [
        printable(search.arm),
        f"{search.ended}/{search.planned}",
        str(search.running + confirm.running),
        str(search.pruned),
        str(search.diverged + confirm.diverged),
        str(search.failed + confirm.failed),
        f"{confirm.ended}/{confirm.planned}" if confirm.planned else "-",
        f"{search.best.value:.4f}" if search.best else "-",
    ]


def _best_row(arm: str, search: SearchView, metric: str) -> list[str]:
    return [
        printable(arm),
        printable(search.trial) if search.trial else "-",
        f"{search.value:.4f}" if search.value is not None else "-",
        sparkline([epoch[metric] for epoch in search.curve], 12),
        str(search.confirmed),
        f"{search.test_accuracy:.4f}" if search.test_accuracy is not None else "-",
    ]


def aligned(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Rows in columns two spaces apart; ``right``: the columns whose cells end below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ends = set(right)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at in ends else cell.ljust(width) for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _minute(moment: str | None) -> str:
    try:
        return datetime.fromisoformat(moment or "").strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return ""


def _number(value: float) -> str:
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.3g}"
