"""Why trials failed, cause by cause."""

from __future__ import annotations

import re

import pandas as pd

from sweeper.records import TrialState
from sweeper.text import plural, printable

_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+")
MAX_CAUSES = 10
LONGEST = 300
"""Characters of an error that are shown."""


def failures_by_cause(trials: pd.DataFrame) -> str:
    """The failed trials grouped by the first line of their error (numbers apart): how many, what, and the trial to look at."""
    failed = trials[trials["state"] == TrialState.FAILED]
    errors = failed["error"].fillna("no error was recorded")
    groups = failed.assign(error=errors).groupby(errors.str.replace(_NUMBER, "#", regex=True), sort=False)
    counted = sorted(((len(group), group.iloc[0]) for _, group in groups), key=lambda entry: -entry[0])
    lines = [f"{plural(len(failed), 'trial')} failed:"]
    lines += [f"  {count} × {printable(first['error'])[:LONGEST]} (for example {first['trial']})" for count, first in counted[:MAX_CAUSES]]
    if len(counted) > MAX_CAUSES:
        lines.append(f"  and {len(counted) - MAX_CAUSES} other causes")
    return "\n".join(lines)
