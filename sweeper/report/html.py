"""A report as one self-contained HTML page: it loads nothing, and only its own scripts can run.

The charts are Vega-Lite's. It was chosen over plotly.js because it draws SVG whose text takes the page's colour (dark mode and print need
no second drawing), names its marks for screen readers, and with everything weighs 0.8 MB where the smallest plotly bundle weighs 1.2 MB
and the one that its Python package brings 4.7 MB.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from sweeper import __version__
from sweeper.report.chart_data import colour_of
from sweeper.report.charts import draw_charts
from sweeper.report.document import Block, Code, Grid, Heading, Sentence, Warnings
from sweeper.report.layout import lay_out_sweep, list_sweeps
from sweeper.report.reading import StoredSweep
from sweeper.report.summary import Summary
from sweeper.report.vega import CONFIG

_ASSETS = resources.files("sweeper.report") / "assets"
_LIBRARIES = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")


def as_html(sweeps: Sequence[tuple[StoredSweep, Summary]]) -> str:
    """The page for all sweeps, one after another."""
    charts: dict[str, Any] = {}
    sections: list[dict[str, Any]] = []
    if len(sweeps) > 1:
        sections.append({"colours": {}, "blocks": [*_blocks(list_sweeps([summary for _, summary in sweeps]))]})
    for index, (stored, summary) in enumerate(sweeps):
        ids = {f"chart-{index}-{chart.name}": chart for chart in draw_charts(stored, summary) if chart.is_on_page}
        charts |= {chart_id: chart.for_page() for chart_id, chart in ids.items()}
        opening = {chart_id: chart for chart_id, chart in ids.items() if chart.opens_page}
        others = {chart_id: chart for chart_id, chart in ids.items() if not chart.opens_page}
        blocks = list(_blocks(lay_out_sweep(summary)))
        place = next(position for position, block in enumerate(blocks) if block.get("name") == "search")
        if others:
            blocks[place:place] = [{"kind": "heading", "level": 2, "text": "Charts"}, {"kind": "charts", "charts": others}]
        if opening:
            place = next(position for position, block in enumerate(blocks) if block["kind"] == "verdict")
            blocks.insert(place + 1, {"kind": "charts", "charts": opening})
        sections.append({"colours": colour_of(stored.arms), "blocks": blocks})
    return _render(", ".join(summary.sweep for _, summary in sweeps), sections, charts)


_IN_A_NOTEBOOK = """\
<div>
<p><strong>{{ sweep }}</strong>: {{ verdict }}</p>
{% if grid %}
<table>
<thead><tr>{% for heading in grid.headings %}<th style="text-align: {{ side(loop.index0) }}">{{ heading }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in grid.rows %}
<tr>{% for cell in row %}<td style="text-align: {{ side(loop.index0) }}">{{ cell.text }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
{% endif %}
</div>
"""


def as_snippet(summary: Summary) -> str:
    """The verdict and the table of the comparison, for a notebook, which gives them its own colours."""
    found = (block for block in lay_out_sweep(summary) if isinstance(block, Grid) and block.name == "comparison")
    grid = next(found, None)

    def side(index: int) -> str:
        return "left" if grid is not None and index in grid.text_columns else "right"

    template = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined).from_string(_IN_A_NOTEBOOK)
    return template.render(sweep=summary.sweep, verdict=summary.verdict.sentence, grid=grid, side=side)


def _render(title: str, sections: list[dict[str, Any]], charts: dict[str, Any]) -> str:
    libraries = [re.sub(r"//# sourceMappingURL=.*", "", _asset(name)).strip() for name in _LIBRARIES]
    page_script = _asset("page.js")
    template = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined).from_string(_asset("page.html"))
    return template.render(
        title=f"{title} · sweep report",
        sections=sections,
        style=Markup(_asset("page.css")),  # noqa: S704  ours
        scripts=[Markup(library) for library in libraries],  # noqa: S704  ours
        script_hashes=Markup(" ".join(_hash(script) for script in (*libraries, page_script))),  # noqa: S704  base64
        chart_data=Markup(_json_for_a_script({"config": CONFIG, "charts": charts})),  # noqa: S704  every < in it is escaped
        page_script=Markup(page_script),  # noqa: S704  ours
        version=__version__,
    )


def _blocks(document: Sequence[Block]) -> Iterator[dict[str, Any]]:
    """The document's blocks as the template wants them: each table captioned with the heading above it."""
    heading = ""
    for block in document:
        match block:
            case Heading(text, level, name):
                heading = text
                yield {"kind": "heading", "text": text, "level": level, "name": name}
            case Sentence(text, role):
                yield {"kind": role, "text": text}
            case Warnings(texts):
                yield {"kind": "warnings", "texts": texts}
            case Grid():
                yield {"kind": "grid", "grid": block, "caption": heading}
            case Code(_, text):
                yield {"kind": "code", "text": text}


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """What the page's content security policy calls a script that may run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _json_for_a_script(content: Any) -> str:
    """JSON that is safe inside a script element: no text in it can end the element."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
