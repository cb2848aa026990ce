"""From a stored sweep to tables, statistics, plots and pages. Knows no torch and no Ray."""

from __future__ import annotations

from collections.abc import Callable

FORMATS = ("table", "markdown", "csv", "json", "latex")

__all__ = ["FORMATS", "report"]


def report(uri: str, *, format: str = "table", by: str = "arm", metric: str | None = None, sweep: str | None = None) -> str:  # noqa: A002
    """What the sweeps below ``uri`` found, in one of :data:`FORMATS`.

    ``by``: ``arm``, or a parameter by whose values the search trials are grouped. ``metric``: compare by it, not by the space's.
    ``sweep``: report this one only.

    Raises:
        StoreError: if there is no sweep.
        ReportError: for an unknown format, grouping, metric or sweep, with the valid names.
    """
    from sweeper.space.wording import nearest, shown

    from .measure import ReportError
    from .summarize import summarize

    if format not in FORMATS:
        raise ReportError(f"--format: unknown format {shown(format)}; {nearest(format, FORMATS)}")
    found = summarize(uri, by=by, metric=metric, sweep=sweep)
    if format in ("csv", "json"):
        from .exports import as_csv, as_json

        return as_json(found) if format == "json" else as_csv(found)
    from .layout import lay_out
    from .tables import as_latex, as_markdown, as_table

    draw: Callable[..., str] = {"table": as_table, "markdown": as_markdown, "latex": as_latex}[format]
    return draw(lay_out(found))
