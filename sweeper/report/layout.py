"""Lays out a report as a document. Numbers are rounded here, once, so that no two formats can differ in a figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from sweeper.metrics import METRICS
from sweeper.report import numbers
from sweeper.report.configurations import configurations
from sweeper.report.document import WIDTH, Block, Cell, Code, Document, Drawing, Grid, Heading, Sentence, Warnings, cells
from sweeper.report.measure import Measure, find_measure
from sweeper.report.summary import ArmSummary, Budget, ClassAccuracy, ComparedArm, Comparison, Contrast, Cost, Reference, Report, Summary
from sweeper.report.verdict_figures import draw_in_text, verdict_figures
from sweeper.text import plural

SCORES = (
    *(
        column
        for metric in METRICS.values()
        if metric.scaled
        for column in (
            (f"{metric.label.removesuffix(' score')}{' %' if metric.is_fraction else ''}", metric.test_column),
            ("scaled", metric.scaled_column),
        )
    ),
    ("T", "temperature"),
)


MOST_CLASSES, WORST_CLASSES = 20, 10
"""A table shows all classes where there are no more than so many, else so many of the worst."""


def lay_out(report: Report) -> Document:
    """The whole report; several sweeps are listed first, then follow one after another."""
    listed = list_sweeps(report.sweeps) if len(report.sweeps) > 1 else ()
    return (*listed, *(block for summary in report.sweeps for block in lay_out_sweep(summary)))


def list_sweeps(summaries: Sequence[Summary]) -> Document:
    """One line per sweep, with its verdict."""
    return (Heading(f"{len(summaries)} sweeps", 1), _sweeps(summaries))


def lay_out_sweep(summary: Summary) -> Document:
    """One sweep, the verdict first."""
    return tuple(_parts(summary))


def _parts(summary: Summary) -> Iterator[Block]:
    measure = find_measure(summary.metric)
    yield Heading(summary.sweep, 1)
    yield Sentence(summary.verdict.sentence, "verdict")
    if summary.budget is not None and summary.budget.sentence is not None:
        yield Sentence(summary.budget.sentence)
    yield Sentence(_setting(summary))
    figures = verdict_figures(summary)
    if figures is not None:
        yield Drawing(draw_in_text(figures, WIDTH))
    if summary.comparison is not None:
        yield from _comparison(summary, summary.comparison)
    if summary.reference is not None:
        yield from _reference(summary.reference)
    if summary.budget is not None:
        yield from _by_number_of_trials(summary.budget)
    if summary.groups:
        yield Heading(f"Search trials by {summary.by}")
        yield _groups(summary, measure)
    compared = find_measure(summary.comparison.measure) if summary.comparison else measure
    yield Heading(f"Searches: the pick of each, its {compared.label} on validation and on test", name="search")
    yield _searches(summary.arms, compared)
    yield Heading("Where the budget went: search")
    yield _budget("search", [(arm.arm, arm.search) for arm in summary.arms])
    if any(arm.confirm.ends.finished or arm.confirm.planned for arm in summary.arms):
        yield Heading("Where the budget went: confirm")
        yield _budget("confirm", [(arm.arm, arm.confirm) for arm in summary.arms])
    if any(arm.best for arm in summary.arms):
        yield Heading("Best configurations")
        if any(len(arm.searches) > 1 for arm in summary.arms):
            picks = numbers.listed([f"{arm.best.trial} (search {arm.best.search})" for arm in summary.arms if arm.best])
            yield Sentence(f"Of the picks of each arm the one with the best validation {measure.label}: {picks}.")
        yield Code("yaml", configurations(summary))
    if summary.warnings:
        yield Heading("Warnings")
        yield Warnings(summary.warnings)


def _setting(summary: Summary) -> str:
    parts = [summary.dataset or "unknown data set"]
    if summary.epochs_per_trial is not None:
        parts.append(f"up to {plural(summary.epochs_per_trial, 'epoch')} a trial")
    counted = [summary.finished_trials] if summary.planned_trials is None else [summary.finished_trials, summary.planned_trials]
    parts.append(f"{' of '.join([*(f'{n:,}' for n in counted[:-1]), plural(counted[-1], 'trial')])} finished")
    if summary.hardware:
        parts.append(summary.hardware)
    if summary.started_at:
        parts.append(f"started {summary.started_at}")
    return "; ".join(parts) + "."


def _sweeps(summaries: Sequence[Summary]) -> Grid:
    rows = []
    for summary in summaries:
        planned = f"{summary.finished_trials:,} of {numbers.count(summary.planned_trials)}"
        cells = Cell(summary.sweep), Cell(summary.dataset or numbers.MISSING), Cell(planned, summary.finished_trials)
        rows.append((*cells, Cell(summary.verdict.kind.replace("_", " ")), Cell(summary.verdict.best or numbers.MISSING)))
    return Grid("sweeps", ("sweep", "data set", "trials", "verdict", "ahead"), tuple(rows), frozenset({0, 1, 3, 4}))


def _comparison(summary: Summary, comparison: Comparison) -> Iterator[Block]:
    measure, searches = find_measure(comparison.measure), [search for arm in summary.arms for search in arm.searches if search.seeds]
    seeds = numbers.counted([len(search.seeds) for search in searches], "fresh seed", "fresh seeds")
    if comparison.unit == "search":
        each = [sum(bool(search.seeds) for search in arm.searches) for arm in summary.arms]
        seeds = f"{numbers.counted([n for n in each if n], 'search', 'searches')} on {seeds} each"
    yield Heading(f"Comparison on the test split: {measure.label}, {seeds}")
    yield _compared(comparison, measure)
    yield Sentence(comparison.method)
    errors = [arm.image_error for arm in comparison.arms if arm.image_error is not None]
    if errors and measure.stem == "accuracy":
        low, high = numbers.deviation(min(errors)), numbers.deviation(max(errors))
        shown = low if low == high else f"{low} to {high}"
        yield Sentence(f"In no interval: other test images would move an arm's accuracy by {shown} points (sd), differences less.")
    if comparison.power:
        yield Sentence(_power(comparison))
    if not any(arm.collapsed for arm in comparison.arms) and not any(arm.confirm.ends.diverged for arm in summary.arms):
        n = min(arm.confirmed for arm in comparison.arms)
        unseen = numbers.percent(1 - 0.05 ** (1 / n))
        yield Sentence(
            f"No confirm trial collapsed, in {n} or more of each arm: a rate of up to {unseen} % can go unseen in {n} (at 95 %)."
        )
    yield Heading("On one scale")
    yield Grid("scores", ("arm", *(heading for heading, _ in SCORES)), tuple(_scores(arm) for arm in comparison.arms))
    over = "searches" if comparison.unit == "search" else "seeds"
    yield Sentence(f"Means over {over}; scaled: after dividing the logits by the temperature T that is fitted on the validation split.")
    if any(arm.per_class for arm in comparison.arms):
        yield from _per_class(comparison)


def _compared(comparison: Comparison, measure: Measure) -> Grid:
    rows = []
    for arm in comparison.arms:
        mean, contrast = arm.measures[measure.test_column], arm.contrast
        gap = contrast.difference if contrast else None
        rows.append(
            (
                Cell(arm.arm),
                Cell(numbers.figure_with_interval(mean, measure), mean.mean),
                Cell(numbers.difference_with_interval(gap, measure), gap.mean if gap else None),
                *cells(numbers.probability, contrast.p_best_wins if contrast else None),
                *cells(numbers.p_value, contrast.p_value if contrast else None),
                Cell(outcome_of_a_rival(contrast) or numbers.MISSING),
            )
        )
    unit = "points" if measure.is_fraction else "difference"
    headings = ("arm", f"{measure.stem}{numbers.unit(measure)}", f"to best, {unit}", "P", "p", "outcome")
    return Grid("comparison", headings, tuple(rows), frozenset({0, 5}))


def outcome_of_a_rival(contrast: Contrast | None) -> str | None:
    """``worse`` than the best arm, ``equal`` to it or ``undecided``, as the row of a rival says it; ``None`` for the best itself."""
    return contrast.outcome.replace("better", "worse") if contrast else None


def _power(comparison: Comparison) -> str:
    contrast = next(arm.contrast for arm in comparison.arms if arm.contrast is not None)
    differences = " / ".join(f"{100 * each.difference:g}" for each in comparison.power)
    chances = " / ".join(
        f"{numbers.probability(each.power)} [{numbers.probability(each.low)}, {numbers.probability(each.high)}]"
        for each in comparison.power
    )
    if contrast.unit == "search":
        n = numbers.counted(sorted({contrast.n_best, contrast.n_rival}), "search", "searches")
        units = f"{n} of each arm whose figures"
    else:
        units = f"{plural(contrast.n_best, 'paired seed')} whose differences"
    sd, low, high = map(numbers.deviation, (contrast.difference.sd, contrast.sd_low, contrast.sd_high))
    return (
        f"Power, about: with {units} vary by {sd} points [{low}, {high}] (sd), "
        f"a true difference of {differences} points is found with probability {chances}."
    )


def _scores(arm: ComparedArm) -> tuple[Cell, ...]:
    row = [Cell(arm.arm)]
    for _, column in SCORES:
        found = arm.measures.get(column)
        show = numbers.probability if column == "temperature" else partial(numbers.figure, measure=find_measure(column))
        row += cells(show, found.mean if found else None)
    return tuple(row)


def _per_class(comparison: Comparison) -> Iterator[Block]:
    measured = [arm for arm in comparison.arms if arm.per_class]
    by_class: dict[str, list[ClassAccuracy | None]] = {name: [] for arm in measured for name in arm.per_class}
    for arm in measured:
        for name, found in by_class.items():
            found.append(arm.per_class.get(name))
    shown, n_classes = by_class, len(by_class)
    if n_classes > MOST_CLASSES:
        worst = {name: min(each.mean for each in found if each is not None) for name, found in by_class.items()}
        shown = {name: by_class[name] for name in sorted(worst, key=worst.__getitem__)[:WORST_CLASSES]}
    yield Heading("Accuracy per class, %")
    rows = [
        (Cell(name), *cells(numbers.count, max(each.n_images for each in found if each is not None)), *map(numbers.share, found))
        for name, found in shown.items()
    ]
    yield Grid("per_class", ("class", "images", *(arm.arm for arm in measured)), tuple(rows))
    new = "searches" if comparison.unit == "search" else "seeds"
    told = f"Mean over {new} [95 % interval, Wilson's: new {new}, new test images]."
    if n_classes > len(shown):
        told += f" The {len(shown)} of {n_classes} classes in which some arm is worst; all are in the formats json and csv."
    yield Sentence(told)


def _reference(reference: Reference) -> Iterator[Block]:
    yield Heading("Beside published figures: test accuracy %")
    rows = [
        (
            Cell(each.arm),
            *cells(numbers.percent, each.ours, each.published),
            *cells(numbers.points, each.difference),
            *cells(numbers.count, each.n),
        )
        for each in reference.figures
    ]
    yield Grid("reference", ("arm", "ours", "published", "difference, points", "n"), tuple(rows))
    yield Sentence(f"Published: {reference.source}. n: trials that ours is the mean of.")


def _by_number_of_trials(budget: Budget) -> Iterator[Block]:
    measure = find_measure(budget.measure)
    arms = list(dict.fromkeys(curve.arm for curve in budget.curves))
    n_searches = max(curve.search for curve in budget.curves)
    yield Heading(f"By number of trials: test {measure.label} of the pick")
    rows = [
        (
            Cell(str(each.n), each.n),
            *cells(numbers.epochs, each.epochs),
            *(numbers.span(each.spans[arm], measure) for arm in arms),
            Cell("yes" if budget.ahead_from is not None and each.n >= budget.ahead_from else numbers.MISSING),
        )
        for each in budget.at
        if each.n in (budget.ahead_from, budget.n_trials) or each.n & (each.n - 1) == 0
    ]
    headings = ("trials", "epochs", *(f"{arm}{numbers.unit(measure)}" for arm in arms), "ahead")
    told = "Of what a search would have picked by validation after so many trials, one network each"
    if n_searches == 1:
        yield Grid("trials", headings[:-1], tuple(row[:-1] for row in rows))
        yield Sentence(f"{told}. One search of each arm: nothing is claimed.")
        return
    yield Grid("trials", headings, tuple(rows), frozenset({0, len(headings) - 1}))
    ahead = f" Ahead: {budget.ahead}, by" if budget.ahead else " Ahead: none, by"
    yield Sentence(
        f"{told}: median [lowest, highest] of {n_searches} searches, their epochs on average.{ahead} the verdict and then by its test at "
        "each number of trials, from the largest downwards to the first that does not show it."
    )


def _groups(summary: Summary, measure: Measure) -> Grid:
    rows = [
        (
            Cell(group.label, group.low),
            Cell(group.arm),
            *cells(numbers.count, group.ends.finished, group.ends.complete),
            *cells(partial(numbers.figure, measure=measure), group.best, group.median),
            *cells(numbers.count, group.epochs),
            *cells(numbers.seconds, group.seconds),
        )
        for group in summary.groups
    ]
    unit = numbers.unit(measure)
    headings = (summary.by, "arm", "trials", "complete", f"best{unit}", f"median{unit}", "epochs", "seconds")
    return Grid("groups", headings, tuple(rows), frozenset({0, 1}))


def _searches(arms: Sequence[ArmSummary], measure: Measure) -> Grid:
    """A row for each search: ``complete`` trials out of which it took its pick, and the ``epochs`` that it spent."""
    shown = partial(numbers.figure, measure=measure)
    rows = [
        (
            Cell(arm.arm),
            *cells(numbers.count, search.number),
            Cell(search.pick.trial if search.pick else numbers.MISSING),
            *cells(shown, search.pick.value if search.pick else None, search.means.get(measure.test_column)),
            *cells(numbers.count, len(search.seeds), search.search.ends.complete, search.search.epochs),
        )
        for arm in arms
        for search in arm.searches
    ]
    unit = numbers.unit(measure)
    headings = ("arm", "search", "pick", f"validation{unit}", f"test{unit}", "seeds", "complete", "epochs")
    return Grid("searches", headings, tuple(rows), frozenset({0, 2}))


def _budget(name: str, costs: Sequence[tuple[str, Cost]]) -> Grid:
    headings = ("arm", "planned", "complete", "pruned", "failed", "diverged", "epochs", "seconds", "saved %")
    rows = [
        (
            Cell(arm),
            *cells(numbers.count, cost.planned, cost.ends.complete, cost.ends.pruned, cost.ends.failed, cost.ends.diverged, cost.epochs),
            *cells(numbers.seconds, cost.seconds),
            *cells(numbers.percent, cost.saved),
        )
        for arm, cost in costs
    ]
    return Grid(name + "_cost", headings, tuple(rows))
