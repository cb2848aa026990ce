"""A report as text: for the terminal, as Markdown, as LaTeX."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeper.report.document import WIDTH, Block, Code, Document, Drawing, Grid, Heading, Sentence, Warnings
from sweeper.text import in_ascii


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
        case Sentence(text, _):
            console.print(_hanging(Text(text, overflow="fold")))
        case Warnings(texts):
            for text in texts:
                console.print(_hanging("!", Text(text, overflow="fold")))
        case Grid():
            console.print(_rich_table(block))
        case Code(_, text):
            console.print(Text(text), soft_wrap=True)
        case Drawing(text):
            console.print(Text(f"\n{text}"), soft_wrap=True)


def _hanging(*cells: str | Text) -> Table:
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_row(*cells)
    return row


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


@dataclass(frozen=True, slots=True)
class _Markup:
    """How a language writes each part of a document. Texts reach the parts below ``text`` escaped."""

    text: Callable[[str], str]
    heading: Callable[[str, int], str]
    strong: Callable[[str], str]
    items: Callable[[list[str]], str]
    grid: Callable[[Grid], str]
    code: Callable[[Code], str]


def as_markdown(document: Document) -> str:
    """GitHub-flavoured Markdown."""
    return _written(
        document,
        _Markup(
            text=_markdown_text,
            heading=lambda text, level: f"{'#' * (level + 1)} {text}",
            strong=lambda text: f"**{text}**",
            items=lambda texts: "\n".join(f"- {text}" for text in texts),
            grid=_markdown_table,
            code=_markdown_code,
        ),
    )


def as_latex(document: Document) -> str:
    """LaTeX sections and ``booktabs`` tables, to be read into a document with UTF-8 and the package booktabs."""
    return _written(
        document,
        _Markup(
            text=_latex_text,
            heading=lambda text, level: f"\\{'sub' * (level - 1)}section*{{{text}}}",
            strong=lambda text: f"\\textbf{{{text}}}",
            items=lambda texts: "\n".join([r"\begin{itemize}", *(f"  \\item {text}" for text in texts), r"\end{itemize}"]),
            grid=_latex_table,
            code=_latex_code,
        ),
    )


def _written(document: Document, markup: _Markup) -> str:
    return "\n\n".join(_part(block, markup) for block in document) + "\n"


def _part(block: Block, markup: _Markup) -> str:
    match block:
        case Heading(text, level, _):
            return markup.heading(markup.text(text), level)
        case Sentence(text, "verdict"):
            return markup.strong(markup.text(text))
        case Sentence(text, _):
            return markup.text(text)
        case Warnings(texts):
            return markup.items([markup.text(text) for text in texts])
        case Grid():
            return markup.grid(block)
        case Code():
            return markup.code(block)
        case Drawing(text):
            return markup.code(Code("text", text))


def _markdown_table(grid: Grid) -> str:
    rows = [[_markdown_text(heading) for heading in grid.headings]]
    rows += [[_markdown_text(cell.text) for cell in row] for row in grid.rows]
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


def _markdown_code(code: Code) -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", code.text)), default=0))
    return f"{fence}{code.language}\n{code.text}\n{fence}"


def _latex_table(grid: Grid) -> str:
    columns = "".join("l" if index in grid.text_columns else "r" for index in range(len(grid.headings)))
    head, *rows = [
        " & ".join(map(_latex_text, row)) + r" \\" for row in (grid.headings, *([cell.text for cell in row] for row in grid.rows))
    ]
    body = "\n  ".join([r"\toprule", head, r"\midrule", *rows, r"\bottomrule"])
    return f"\\begin{{tabular}}{{{columns}}}\n  {body}\n\\end{{tabular}}"


def _latex_code(code: Code) -> str:
    verbatim = (in_ascii(code.text) if code.language == "text" else code.text).replace(r"\end{verbatim}", r"\end {verbatim}")
    return f"\\begin{{verbatim}}\n{verbatim}\n\\end{{verbatim}}"


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


def _markdown_text(text: str) -> str:
    """Escaped where Markdown would act on it; an underscore within a word it leaves alone."""
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\_", _escape(text, _MARKDOWN))


def _latex_text(text: str) -> str:
    return _escape(text, _LATEX)


def _escape(text: str, table: Mapping[str, str]) -> str:
    return "".join(table.get(char, char) for char in text)
