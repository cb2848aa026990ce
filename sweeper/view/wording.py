"""Numbers and parameters as progress shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweeper.metrics import metric_of
from sweeper.records import Phase, TrialOutcome, TrialState, Value
from sweeper.text import plural, printable
from sweeper.trial_counts import BestTrial
from sweeper.view.snapshot import Snapshot

STATES_TOLD = (TrialState.PRUNED, TrialState.DIVERGED, TrialState.FAILED)


def duration(seconds: float) -> str:
    """``0:03:12``; days are hours."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def value_text(value: Value) -> str:
    """A parameter's value in at most four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else printable(str(value))


def parameters_text(parameters: Mapping[str, Value]) -> str:
    """``gamma 1.73, learning_rate 0.0312``."""
    return ", ".join(f"{printable(name)} {value_text(value)}" for name, value in parameters.items())


def best_text(best: BestTrial, metric: str) -> str:
    """``val_accuracy 0.6123 by focal-12 (gamma 1.73, learning_rate 0.0312)``."""
    chosen = parameters_text(best.parameters)
    return f"{metric} {best.value:.4f} by {printable(best.trial)}{f' ({chosen})' if chosen else ''}"


def outcome_text(outcome: TrialOutcome, metric: str, free: Sequence[str]) -> str:
    """One line on the end of one trial; ``free``: names of the parameters that distinguish it from others of its arm."""
    config, n_epochs = outcome.config, len(outcome.epochs)
    told = [f"{printable(config.trial_id)} {outcome.state} after {plural(n_epochs, 'epoch')}"]
    if outcome.epochs:
        told.append(f"{metric} {outcome.epochs[-1][metric]:.4f}")
    if outcome.test is not None and config.phase is Phase.CONFIRM:  # nothing shall be chosen by those of the search
        column, figures = metric_of(metric).test_column, outcome.test.figures
        name = "test_accuracy" if figures["test_accuracy"] is not None else column
        told += [f"{name} {found:.4f}"] if (found := figures.get(name)) is not None else []
    if outcome.error is not None:
        told.append(printable(outcome.error))
    chosen = parameters_text({name: config.parameters[name] for name in free if name in config.parameters})
    return f"{', '.join(told)}{f'; {chosen}' if chosen else ''}"


def searches_text(snapshot: Snapshot) -> str | None:
    """``5 searches of each arm``; ``None`` where there is one."""
    return f"{plural(snapshot.searches, 'search')} of each arm" if snapshot.searches > 1 else None


def saved_text(snapshot: Snapshot) -> str | None:
    """What pruning has spared so far; ``None`` before a search trial has ended."""
    if snapshot.saved is None:
        return None
    whole = snapshot.total("ended", Phase.SEARCH) * snapshot.epochs_per_trial
    return f"{snapshot.saved:.0%} of {plural(whole, 'epoch')} saved by pruning".replace("%", " %")


def pace_text(snapshot: Snapshot) -> str:
    """Epochs per second, or seconds per epoch where that reads better."""
    pace = snapshot.epochs_per_second
    if not pace:
        return "pace not known yet" if snapshot.epochs else "no epoch yet"
    return f"{pace:.1f} epochs/s" if pace >= 1 else f"{1 / pace:.1f} s/epoch"


def eta_text(snapshot: Snapshot) -> str | None:
    """``about 0:02:10 left``; ``None`` while unknown, and at the end."""
    if snapshot.eta_seconds is None:
        return None
    return f"about {duration(snapshot.eta_seconds)} left"
