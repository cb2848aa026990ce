"""What all pictures share: size, fonts, colours, panels, and how they are saved."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

SETTINGS: Any = {  # matplotlib types its parameters as literals
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.dpi": 100,
    "svg.hashsalt": "sweeper",
    "text.parse_math": False,  # a $ in an arm's name is a $
}
PNG_DPI = 160
MOST_COLUMNS = 4


def panels(
    n_panels: int, *, width: float = 2.9, height: float = 2.6, share: bool = True, most_columns: int = MOST_COLUMNS
) -> tuple[Figure, list[Axes]]:
    """A figure with room for ``n_panels`` equal axes side by side, sizes in inches of one panel; spare places stay empty."""
    n_columns = min(n_panels, most_columns)
    n_rows = -(-n_panels // n_columns)
    figure = Figure(figsize=(max(width * n_columns, 4.6), height * n_rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(n_rows, n_columns, sharex=share, sharey=share, squeeze=False)
    axes = list(grid.flat)
    for spare in axes[n_panels:]:
        spare.set_visible(False)
    for above in axes[max(n_panels - n_columns, 0) : n_panels]:
        above.tick_params(labelbottom=True)
    return figure, axes[:n_panels]


def outer_labels(axes: Sequence[Axes], x: str, y: str) -> None:
    """Name the x axis below the lowest panel of each column and the y axis left of each row."""
    n_columns = min(len(axes), MOST_COLUMNS)
    for index, panel in enumerate(axes):
        if index + n_columns >= len(axes):
            panel.set_xlabel(x)
        if index % n_columns == 0:
            panel.set_ylabel(y)


def log_axis(axis: Axis) -> None:
    """Label powers of ten on a logarithmic axis as plain numbers, and 2 and 5 between them where the axis spans little."""
    low, high = sorted(axis.get_view_interval())
    is_short = low > 0 and high / low < 100
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if is_short else (1.0,), numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """One legend for the whole figure, under it, so that it hides nothing."""
    figure.legend(handles, [shorten(label) for label in labels], loc="outside lower center", ncols=min(len(labels), MOST_COLUMNS + 1))


def shorten(text: str, longest: int = 24) -> str:
    """``text``, cut to what fits over a panel."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def rendered(figure: Figure) -> dict[str, bytes]:
    """The picture as PNG and as SVG by file suffix; the same bytes for the same picture."""
    with mpl.rc_context(SETTINGS):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once for both
        files = {}
        for suffix, options in (("png", {"dpi": PNG_DPI, "metadata": {"Software": None}}), ("svg", {"metadata": {"Date": None}})):
            stream = io.BytesIO()
            figure.savefig(stream, format=suffix, **options)
            files[suffix] = stream.getvalue()
        return files
