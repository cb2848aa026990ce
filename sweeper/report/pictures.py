"""The charts of a sweep as files: PNG, SVG and PDF, drawn by vl-convert, which needs neither a browser nor a network."""

from __future__ import annotations

import io
from pathlib import Path

from sweeper.errors import StoreError
from sweeper.report.charts import draw_charts
from sweeper.report.summarize import read_and_summarize
from sweeper.report.vega import Chart
from sweeper.store import file_name

VEGA_LITE = "6.4"
"""The version that vl-convert draws with: that of the page's script in ``assets/``."""
PNG_SCALE = 2.0
"""Pixels of a PNG per pixel of the specification."""


def write_plots(uri: str, directory: str | Path, *, sweep: str | None = None) -> list[Path]:
    """Write every picture that the sweeps below ``uri`` have data for: in ``directory``, or in a folder each when they are several.

    Raises:
        StoreError: if there is no sweep, or a file cannot be written.
        ReportError: for an unknown sweep.
    """
    sweeps = read_and_summarize(uri, "arm", None, sweep)
    written = []
    for stored, summary in sweeps:
        target = Path(directory) / file_name(stored.folder.id) if len(sweeps) > 1 else Path(directory)
        for chart in draw_charts(stored, summary):
            written += _write(target, chart) if chart.is_picture else []
    return written


def _write(target: Path, chart: Chart) -> list[Path]:
    paths = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for suffix, content in rendered(chart).items():
            path = target / f"{chart.name}.{suffix}"
            path.write_bytes(content)
            paths.append(path)
    except OSError as error:
        raise StoreError(f"{target}: cannot write a picture there: {error.strerror}") from error
    return paths


def rendered(chart: Chart) -> dict[str, bytes]:
    """The picture of a chart by file suffix; PNG and SVG are the same bytes for the same chart.

    Letters that no font of the machine has are boxes in PNG and PDF, which hold outlines; an SVG holds the text itself.
    """
    import vl_convert
    from PIL import Image

    svg = vl_convert.vegalite_to_svg(chart.for_picture(), VEGA_LITE)
    png = io.BytesIO()
    with Image.open(io.BytesIO(vl_convert.svg_to_png(svg, scale=PNG_SCALE))) as picture:
        picture.convert("RGB").save(png, "PNG")  # the same pixels in a third of the bytes
    return {"png": png.getvalue(), "svg": svg.encode(), "pdf": vl_convert.svg_to_pdf(svg)}
