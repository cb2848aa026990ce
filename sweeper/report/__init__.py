"""From a stored sweep to its comparison: statistics, verdict, tables, pictures, page. Imports neither torch nor Ray.

In: what finished trials show. Out of here: the progress of a sweep.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

FORMATS = ("table", "markdown", "csv", "json", "latex", "html")

__all__ = ["FORMATS", "report", "write_plots"]


def report(uri: str, *, format: str = "table", by: str = "arm", metric: str | None = None, sweep: str | None = None) -> str:  # noqa: A002
    """What the sweeps below ``uri`` found, in one of :data:`FORMATS`.

    ``by``: ``arm``, or a parameter by whose values the search trials are grouped. ``metric``: compare by it, not by the space's.
    ``sweep``: report this one only.

    Raises:
        StoreError: if there is no sweep.
        ReportError: for an unknown format, grouping, metric or sweep, with the valid names.
    """
    from sweeper.report.measure import ReportError
    from sweeper.report.summarize import read_and_summarize, summarize
    from sweeper.text import as_json, nearest, shown

    if format not in FORMATS:
        raise ReportError(f"--format: unknown format {shown(format)}; {nearest(format, FORMATS)}")
    if format == "html":
        from sweeper.report.html import as_html

        return as_html(read_and_summarize(uri, by, metric, sweep))
    found = summarize(uri, by=by, metric=metric, sweep=sweep)
    if format == "json":
        return as_json(found) + "\n"
    if format == "csv":
        from sweeper.report.exports import as_csv

        return as_csv(found)
    from sweeper.report.layout import lay_out
    from sweeper.report.tables import as_latex, as_markdown, as_table

    draw: Callable[..., str] = {"table": as_table, "markdown": as_markdown, "latex": as_latex}[format]
    return draw(lay_out(found))


def write_plots(uri: str, directory: str | Path, *, sweep: str | None = None) -> list[Path]:
    """Write pictures of the sweeps below ``uri`` as PNG, SVG and PDF into ``directory``, and say where each lies.

    Raises:
        StoreError: if there is no sweep, or a file cannot be written.
        ReportError: for an unknown sweep.
    """
    from sweeper.report.pictures import write_plots as write

    return write(uri, directory, sweep=sweep)
