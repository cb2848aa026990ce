"""Looking at sweeps and trials, running or ended, without disturbing who runs them. Knows no torch and no Ray."""

from sweeper.look.as_json import as_json
from sweeper.look.find import LookError, find_named, find_sweep, find_sweep_or_trial, find_trial
from sweeper.look.status import Status, sweep_status
from sweeper.look.sweeps import ArmView, SweepLine, SweepView, list_sweeps, view_sweep
from sweeper.look.text import list_text, sparkline, status_text, sweep_text, trial_text
from sweeper.look.trial import TrialView, view_trial

__all__ = [
    "ArmView",
    "LookError",
    "Status",
    "SweepLine",
    "SweepView",
    "TrialView",
    "as_json",
    "find_named",
    "find_sweep",
    "find_sweep_or_trial",
    "find_trial",
    "list_sweeps",
    "list_text",
    "sparkline",
    "status_text",
    "sweep_status",
    "sweep_text",
    "trial_text",
    "view_sweep",
    "view_trial",
]
