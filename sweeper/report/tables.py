"""A report as text: for the terminal, as Markdown, as LaTeX."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .document import Block, Code, Document, Grid, Heading, Sentence

WIDTH = 80


def as_table(document: Document) -> str:
    """Plain text for a terminal of 80 columns, the same when piped."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=WIDTH,
        color_system=None,
        force_terminal=False,
        force_jupyter=False,
        legacy_windows=False,
        highlight=False,
        markup=False,
    )
    for block in document:
        _print(console, block)
    return "\n".join(line.rstrip() for line in stream.getvalue().strip("\n").splitlines()) + "\n"


def _print(console: Console, block: Block) -> None:
    match block:
        case Heading(text, level, _):
            console.print(Text(f"\n{text}"))
            console.print(Text(("=" if level == 1 else "-") * min(cell_len(text), WIDTH)))
        case Sentence(text, role):
            hanging = Table.grid(padding=(0, 1, 0, 0))
            hanging.add_row(*(["!"] if role == "warning" else []), Text(text, overflow="fold"))
            console.print(hanging)
        case Grid():
            console.print(_rich_table(block))
        case Code(_, text):
            console.print(Text(text), soft_wrap=True)


def _rich_table(grid: Grid) -> Table:
    columns = zip(grid.headings, *([cell.text for cell in row] for row in grid.rows), strict=True)
    is_wide = sum(max(map(cell_len, column)) + 2 for column in columns) - 2 > WIDTH
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0 if is_wide else (0, 1, 0, 0))
    for index, heading in enumerate(grid.headings):
        is_text = index in grid.text_columns
        table.add_column(Text(heading), justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
    for row in grid.rows:
        table.add_row(*(Text(cell.text) for cell in row))
    return table


def as_markdown(document: Document) -> str:
    """GitHub-flavoured Markdown."""
    return "\n\n".join(_markdown(block) for block in _merged_warnings(document)) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level, _):
            return f"{'#' * (level + 1)} {_as_markdown_text(text)}"
        case Sentence(text, "verdict"):
            return f"**{_as_markdown_text(text)}**"
        case Sentence(text, "warning"):
            return "\n".join(f"- {_as_markdown_text(line)}" for line in text.splitlines())
        case Sentence(text, _):
            return _as_markdown_text(text)
        case Grid():
            return _markdown_table(block)
        case Code(language, text):
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
            return f"{fence}{language}\n{text}\n{fence}"


def _markdown_table(grid: Grid) -> str:
    rows = [[_as_markdown_text(heading) for heading in grid.headings]]
    rows += [[_as_markdown_text(cell.text) for cell in row] for row in grid.rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = [_markdown_row(row, widths, grid) for row in rows]
    rule = [
        ":" + "-" * (width - 1) if index in grid.text_columns else "-" * (width - 1) + ":" for index, width in enumerate(map(_two, widths))
    ]
    return "\n".join([lines[0], f"| {' | '.join(rule)} |", *lines[1:]])


def _markdown_row(cells: Iterable[str], widths: Iterable[int], grid: Grid) -> str:
    padded = []
    for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        space = " " * (_two(width) - cell_len(cell))
        padded.append(cell + space if index in grid.text_columns else space + cell)
    return f"| {' | '.join(padded)} |"


def _two(width: int) -> int:
    return max(width, 2)


def as_latex(document: Document) -> str:
    """LaTeX sections and ``booktabs`` tables, to be read into a document with UTF-8 and the package booktabs."""
    return "\n\n".join(_latex(block) for block in _merged_warnings(document)) + "\n"


def _latex(block: Block) -> str:
    match block:
        case Heading(text, level, _):
            return f"\\{'sub' * (level - 1)}section*{{{_escape(text, _LATEX)}}}"
        case Sentence(text, "verdict"):
            return f"\\textbf{{{_escape(text, _LATEX)}}}"
        case Sentence(text, "warning"):
            items = "\n".join(f"  \\item {_escape(line, _LATEX)}" for line in text.splitlines())
            return f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}"
        case Sentence(text, _):
            return _escape(text, _LATEX)
        case Grid(_, headings, rows, text_columns):
            columns = "".join("l" if index in text_columns else "r" for index in range(len(headings)))
            lines = [" & ".join(_escape(cell.text, _LATEX) for cell in row) + r" \\" for row in rows]
            head = " & ".join(_escape(heading, _LATEX) for heading in headings) + r" \\"
            body = "\n  ".join([r"\toprule", head, r"\midrule", *lines, r"\bottomrule"])
            return f"\\begin{{tabular}}{{{columns}}}\n  {body}\n\\end{{tabular}}"
        case Code(_, text):
            verbatim = text.replace(r"\end{verbatim}", r"\end {verbatim}")
            return f"\\begin{{verbatim}}\n{verbatim}\n\\end{{verbatim}}"


def _merged_warnings(document: Document) -> list[Block]:
    """Warnings that follow one another as one block, one a line: a list."""
    merged: list[Block] = []
    for block in document:
        before = merged[-1] if merged else None
        if isinstance(block, Sentence) and block.role == "warning" and isinstance(before, Sentence) and before.role == "warning":
            merged[-1] = Sentence(f"{before.text}\n{block.text}", "warning")
        else:
            merged.append(block)
    return merged


_MARKDOWN: Mapping[str, str] = {
    **{char: f"\\{char}" for char in "\\`*[]|#~"},
    "<": "&lt;",
    ">": "&gt;",
    "&": "&amp;",
}
_LATEX: Mapping[str, str] = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
}


def _as_markdown_text(text: str) -> str:
    """Escaped where Markdown would act on it; an underscore within a word it leaves alone."""
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\_", _escape(text, _MARKDOWN))


def _escape(text: str, table: Mapping[str, str]) -> str:
    return "".join(table.get(char, char) for char in text)
