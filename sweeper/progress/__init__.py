"""How far a sweep is: counted from its events, shown as a panel or as lines."""

from sweeper.progress.lines import SpacedLines
from sweeper.progress.panel import SweepPanel
from sweeper.progress.snapshot import Best, Part, Snapshot
from sweeper.progress.tally import Tally, free_parameters
from sweeper.progress.watch import Watcher, watching

__all__ = ["Best", "Part", "Snapshot", "SpacedLines", "SweepPanel", "Tally", "Watcher", "free_parameters", "watching"]
