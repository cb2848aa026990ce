"""The command ``report``."""

from __future__ import annotations

import gc
from pathlib import Path

import click

from sweeper.cli.options import not_empty, sweep_argument
from sweeper.cli.output import say, tell


@click.command()
@sweep_argument("folder", several="all of them")
@click.option("--format", "format_", default="table", show_default=True, help="table, markdown, csv, json, latex or html.")
@click.option("--output", default=None, metavar="PATH", callback=not_empty, help="Write there instead of to the terminal.")
@click.option("--by", default="arm", show_default=True, metavar="NAME", help="arm, or any parameter: loss, gamma, learning_rate, ...")
@click.option("--metric", default=None, metavar="NAME", help="Metric to compare by; default: the space's search.metric.")
@click.option("--sweep", default=None, metavar="ID", help="One sweep of a folder that holds several, by its id or the beginning of it.")
@click.option("--plots", default=None, metavar="DIR", callback=not_empty, help="Also write the pictures there, as PNG, SVG and PDF.")
def report(
    folder: str | None,
    results: str,
    format_: str,
    output: str | None,
    by: str,
    metric: str | None,
    sweep: str | None,
    plots: str | None,
) -> None:
    """Print the comparison of a sweep's arms.

    \b
    sweep report
    sweep report focal-20260101-120000
    sweep report results/
    sweep report results/ --format markdown --output comparison.md
    sweep report results/ --format html --output comparison.html --plots pictures
    """
    gc.disable()  # this process lives for seconds, and a tenth of them is looking for garbage among the modules that it loads
    from sweeper.report import report as make_report
    from sweeper.view.find import find_named

    found = find_named(folder, results) if sweep is None else find_named(sweep, folder or results)
    uri = str(found[0]) if len(found) == 1 else str(found[0]).rpartition("/")[0]
    _check_paths(output, plots)
    text = make_report(uri, format=format_, by=by, metric=metric)
    if output is None:
        tell(text.rstrip("\n"))
    else:
        _write(Path(output), text)
    if plots is not None:
        from sweeper.report import write_plots

        for picture in write_plots(uri, plots):
            say(str(picture))


def _write(path: Path, text: str) -> None:
    """Write a file as a whole or not at all. What is there and no regular file (a pipe, ``/dev/null``) is written to, not replaced."""
    from sweeper.errors import StoreError
    from sweeper.store import Folder
    from sweeper.text import first_line

    if not path.exists() or path.is_file():
        Folder(str(path.parent)).write(path.name, text.encode())
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"--output: {path}: {first_line(error)}") from error


def _check_paths(output: str | None, plots: str | None) -> None:
    """Refuse files where folders are needed, and the other way round, before anything is written."""
    from sweeper.errors import StoreError

    problems = []
    if output is not None and Path(output).is_dir():
        problems.append(f"--output: {output} is a folder; give the name of a file in it")
    if output is not None and Path(output).parent.is_file():
        problems.append(f"--output: {Path(output).parent} is a file, and nothing can be written in it")
    if plots is not None and (Path(plots).is_file() or Path(plots).parent.is_file()):
        file = plots if Path(plots).is_file() else Path(plots).parent
        problems.append(f"--plots: {file} is a file; give a folder")
    if problems:
        raise StoreError("\n".join(problems))
