"""What a report says, as plain frozen data: every number that any format prints comes from here, unrounded.

Accuracies, shares and ECE are fractions, times seconds, NLL nats. The docstring of each field says how it is computed from the Parquet
files, so that other code can recompute it. ``report --format json`` is this, field by field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sweeper.trial_counts import BestTrial

FORMAT_VERSION = 4
"""Raised when a field of :class:`Report` changes its meaning."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over ``n`` searches, each of which counts by its mean over its seeds, or with one search over ``n`` seeds.

    ``sd`` divides by n - 1. ``low`` to ``high`` is the 95 % t interval of :func:`sweeper.report.statistics.estimate`; both are ``None`` for
    fewer than two, and of searches that all found the same configuration. It is for new searches on the same seeds, or for new seeds of
    one configuration, and in neither case for other test images.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Contrast:
    """The best arm against one rival, over searches (each counts by its mean over seeds) or, with one search each, over paired seeds.

    ``difference``: rival minus best, in the measure's own unit, with its 95 % interval: Welch's t over searches, Student's t over paired
    seeds. Its ``n`` is the smaller of ``n_best`` and ``n_rival``; its ``sd`` is that of the paired differences, or of the figure of one
    search, pooled over both arms; ``sd_low`` to ``sd_high`` is the 95 % interval of that. ``equal_low`` to ``equal_high``: the 90 %
    interval of the difference. All are ``None`` where there are too few units to tell.

    ``p_value``: permutation of the search labels, or of the signs of paired differences, two-sided; ``None`` for fewer than two units.
    ``p_best_wins``: share of the seeds, or of all pairs of one search of each arm, in which the best is better, ties half.

    ``freedom``: degrees of freedom of t in every interval here. ``n_permutations``: how many were tried, the one observed among them: all,
    or :data:`sweeper.report.statistics.N_RESAMPLES` where there are more.

    ``outcome``: ``better`` where the difference favours the best, p is at most 0.05 and the 95 % interval excludes zero; else ``equal``
    where the 90 % interval lies within plus and minus the margin (:func:`sweeper.report.statistics.contrast_of_searches`); else
    ``undecided``. ``behind``: the rival is worse than the best whoever wins, at 0.05 over all pairs of arms.
    """

    unit: Literal["search", "seed"]
    n_best: int
    n_rival: int
    difference: Estimate
    sd_low: float | None
    sd_high: float | None
    equal_low: float | None
    equal_high: float | None
    freedom: float | None
    n_permutations: int | None
    p_value: float | None
    p_best_wins: float
    outcome: Literal["better", "equal", "undecided"]
    behind: bool


@dataclass(frozen=True, slots=True)
class Ends:
    """How many trials ended in each state."""

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    diverged: int = 0

    @property
    def finished(self) -> int:
        return self.complete + self.pruned + self.failed + self.diverged


@dataclass(frozen=True, slots=True)
class Cost:
    """What trials of one arm and phase took: sums of ``epochs`` and of ``train_seconds``.

    ``saved``: the epochs that pruned trials were spared, as a share of finished trials x planned epochs of a trial; what failed or diverged
    has saved nothing. ``None`` without finished trials or without a space.
    """

    planned: int | None
    ends: Ends
    epochs: int
    seconds: float
    saved: float | None


@dataclass(frozen=True, slots=True)
class SearchSummary:
    """One search of an arm, and the confirm trials of its ``pick``: its best trial, ``None`` before any is complete.

    ``number``: from 1. ``seeds``: those of complete confirm trials with a figure of the compared measure, in ascending order. ``values``:
    each ``test_*`` column, and ``temperature``, on these seeds in this order, ``None`` where it is not finite. ``means``: of those, without
    measures of which a value is missing and without a temperature that lay at a bound of its fit.

    With another ``--metric`` than the space's, ``last_<metric>`` takes the place of the pick's ``value``; where no trial has one, the pick
    is that of the space's metric, and its ``value`` not a number.
    """

    number: int
    search: Cost
    confirm: Cost
    pick: BestTrial | None
    seeds: tuple[int, ...]
    values: Mapping[str, tuple[float | None, ...]]
    means: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm: what its searches and their confirm trials took together, and the pick with the best validation value of all its searches.

    ``best`` is ``None`` before any trial is complete.
    """

    arm: str
    search: Cost
    confirm: Cost
    best: BestTrial | None
    searches: tuple[SearchSummary, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Search trials of one arm that have one value of a parameter, or that lie in one interval ``low`` < value <= ``high`` of it.

    The lowest interval includes its ``low``. Edges are quartiles over all search trials of the sweep, each a value that occurs.
    ``best`` and ``median`` are over complete trials, for a pruned trial has no final value.
    """

    label: str
    low: float | None
    high: float | None
    arm: str
    ends: Ends
    best: float | None
    best_trial: str | None
    median: float | None
    epochs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ClassAccuracy:
    """Recall of a class on the test split, from the stored logits of an arm: the share of its ``n_images`` that are classified right.

    A mean over searches, each of which counts by its mean over its seeds, or with one search over seeds. ``low`` to ``high``: the 95 %
    interval of :func:`sweeper.report.statistics.share_interval`, for new searches (new seeds) and new test images.
    """

    n_images: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ComparedArm:
    """One arm in the confirm phase, complete trials only.

    ``measures``: the mean over the arm's searches (over its seeds with one search) of each of :attr:`SearchSummary.means` that all of them
    have. ``per_class``: recall of each class; empty without logits.
    ``image_error``: how much other test images would move its accuracy, a standard error: the standard deviation over test images of
    the share of the arm's networks that are right, divided by the square root of the number of images; ``None`` without logits.
    ``at_chance``: whether its mean accuracy is that of guessing, within 2 % of the way to perfect. ``confirmed``: complete confirm trials;
    ``collapsed``: those of them whose accuracy is that of guessing, or more than 10 points below their median, where that is not at chance.

    ``contrast`` sets it against the best arm, over ``common_seeds``: those that both have in all of their searches. There is none for the
    best itself, without a common seed, and where the measure cannot be compared between arms.
    """

    arm: str
    measures: Mapping[str, Estimate]
    per_class: Mapping[str, ClassAccuracy]
    image_error: float | None
    at_chance: bool
    confirmed: int
    collapsed: int
    common_seeds: tuple[int, ...]
    contrast: Contrast | None


@dataclass(frozen=True, slots=True)
class Power:
    """The chance, about, that the test finds a true ``difference`` between the best arm and the runner-up with as many searches or seeds.

    ``power`` were the spread of their figures or differences known to be the one found; ``low`` to ``high`` over the 95 % interval of it.
    """

    difference: float
    power: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The confirm phase by one measure (a ``test_*`` column), arms from best to worst (:func:`sweeper.report.statistics.ranked`).

    ``comparable``: whether values of the measure mean the same for every arm; if not, the arms are in the space's order. By other
    measures than accuracy, arms at chance come last. ``unit``: what is counted, searches where an arm has several, else paired seeds;
    ``needed``: the fewest of them with which the test can reach 0.05. ``margin``: arms that surely differ by less are equal, in the unit of
    the measure; ``None`` where none are called so. ``power``: of accuracy, against the runner-up; its spread is that of the contrast.
    """

    measure: str
    comparable: bool
    unit: Literal["search", "seed"]
    needed: int
    margin: float | None
    arms: tuple[ComparedArm, ...]
    power: tuple[Power, ...]
    method: str


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """Our test accuracy of an arm beside a published one. ``n``: trials that ours is the mean of; ``difference``: ours minus published."""

    arm: str
    ours: float | None
    n: int
    published: float
    difference: float | None


@dataclass(frozen=True, slots=True)
class Reference:
    """Published test accuracies beside ours.

    Ours is the mean test accuracy of the confirm phase; without one the accuracy of the arm's best trial at its last epoch,
    if that was measured on the test split; else there is none.
    """

    source: str
    figures: tuple[PublishedFigure, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found, in one sentence.

    ``kind``: better (than every rival), equal (to those that it does not beat), undecided, not_comparable, unfinished, unconfirmed,
    single_arm or nothing. ``best``: the arm ahead; ``rivals``: those that it is equal to, or not told apart from.
    """

    kind: str
    sentence: str
    best: str | None = None
    rivals: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True, slots=True)
class BudgetCurve:
    """One search of an arm, trial by trial in the order of their numbers, failed ones left out: entry n - 1 is what holds after n trials.

    ``picks``: the complete trial of the first n with the best search metric after its last epoch, ``None`` before any is complete.
    ``values``: the measure of that trial's network on the test split, ``None`` without one. ``epochs``: what trials up to the n-th took.
    """

    arm: str
    search: int
    picks: tuple[str | None, ...]
    values: tuple[float | None, ...]
    epochs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BudgetAt:
    """All searches after ``n`` trials each; one that has fewer keeps its last pick.

    ``epochs``: that the first n trials took, mean over all searches. ``spans``: of each arm the median of its curves there, the lowest and
    the highest, ``None`` where a search has no value.
    """

    n: int
    epochs: float | None
    spans: Mapping[str, tuple[float, float, float] | None]


@dataclass(frozen=True, slots=True)
class Budget:
    """What fewer trials would have found, by ``measure``, a ``test_*`` column (:mod:`sweeper.report.budget`).

    ``n_trials``: the most that a search has. ``at``: one entry for each number of trials up to that. ``ahead``: the arm that is ahead of
    every other with ``ahead_from`` trials and with every larger number; both ``None`` where none is, and where nothing is claimed: then
    ``sentence`` is ``None`` too.
    """

    measure: str
    n_trials: int
    curves: tuple[BudgetCurve, ...]
    at: tuple[BudgetAt, ...]
    ahead: str | None
    ahead_from: int | None
    sentence: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """One sweep.

    ``compared``: the parameter whose values are the arms. ``by`` and ``groups``: what ``--by`` asked for; no groups when it is the arms
    themselves.
    """

    sweep: str
    name: str | None
    started_at: str | None
    dataset: str | None
    evaluate_on: str | None
    compared: str | None
    epochs_per_trial: int | None
    metric: str
    planned_trials: int | None
    finished_trials: int
    verdict: Verdict
    comparison: Comparison | None
    reference: Reference | None
    arms: tuple[ArmSummary, ...]
    by: str
    groups: tuple[Group, ...]
    budget: Budget | None
    warnings: tuple[str, ...]
    skipped_files: int
    hardware: str | None
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Report:
    """All sweeps of a results folder, oldest first."""

    format_version: int
    sweeps: tuple[Summary, ...]
