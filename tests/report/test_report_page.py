"""The page as it stands in its file, and as a real browser shows it."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from sweeps import SweepBuilder, plausible, searched

from sweeper.records import Phase, TrialState
from sweeper.report import report
from sweeper.report.document import Grid
from sweeper.report.layout import lay_out
from sweeper.report.summarize import summarize

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")


class Page(HTMLParser):
    """Cells of each table by its name, texts of elements by class or tag, and every address that the page mentions."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.texts, self.addresses, self.tags = [], {}, [], []
        self._open = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "data")]
        if tag == "table":
            self.tables.append((attributes.get("data-name"), []))
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][1][-1].append("")
        if tag not in ("meta", "img", "link", "br", "span"):
            self._open.append((tag, attributes.get("class") or tag))

    def handle_endtag(self, tag):
        if self._open and self._open[-1][0] == tag:
            self._open.pop()

    def handle_data(self, data):
        if not self._open:
            return
        tag, name = self._open[-1]
        self.texts[name] = self.texts.get(name, "") + data
        if any(opened in ("td", "th") for opened, _ in self._open) and tag in ("td", "th", "button"):
            self.tables[-1][1][-1][-1] += data


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    plausible(folder, trials=30, epochs=6, seeds=8, images=300)
    return folder


@pytest.fixture(scope="module")
def page(results, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report(str(results), format="html"))
    return path


def opened(path, *options):
    """The document after its scripts have run, and what the console said."""
    profile = path.parent / "profile"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}", "--enable-logging=stderr"]
    command += ["--virtual-time-budget=20000", "--window-size=1100,2000", *options, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def cells_of(found):
    return [[[cell.text for cell in row] for row in grid.rows] for grid in found if isinstance(grid, Grid)]


def test_the_page_has_the_cells_of_every_other_format(results, page):
    tables = Page(page.read_text()).tables
    figures = {"units", "curves", "best_so_far", "importance", "reliability", "confusion"}
    assert [rows[1:] for name, rows in tables if name not in figures] == cells_of(lay_out(summarize(str(results))))


def test_the_page_loads_nothing_and_runs_only_its_own_scripts(page):
    text = page.read_text()
    parsed = Page(text)
    assert parsed.addresses == ["#main"]
    assert "link" not in parsed.tags
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text).group(1)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy.partition("style-src")[0]
    assert "sourceMappingURL" not in text


@needs_chromium
def test_a_browser_draws_every_chart_without_a_word_on_the_console(results, page):
    dom, console = opened(page)
    assert console == []
    assert 'data-charts="drawn"' in dom
    n_charts = len(re.findall(r'<div class="chart[ "]', dom))
    assert n_charts == dom.count('class="marks"') == 11
    assert "could not be drawn" not in dom.partition("<script")[0]


@needs_chromium
def test_the_verdict_and_the_figures_in_a_browser_are_those_of_json(results, page):
    shown = Page(opened(page)[0])
    found = json.loads(report(str(results), format="json"))["sweeps"][0]
    assert shown.texts["verdict"].strip() == found["verdict"]["sentence"]
    rows = {row[0]: row for name, rows in shown.tables if name == "comparison" for row in rows[1:]}
    assert list(rows) == [arm["arm"] for arm in found["comparison"]["arms"]]
    for arm in found["comparison"]["arms"]:
        mean, contrast = arm["measures"]["test_accuracy"], arm["contrast"]
        assert rows[arm["arm"]][1] == f"{100 * mean['mean']:.1f} [{100 * mean['low']:.1f}, {100 * mean['high']:.1f}]"
        if contrast:
            gap = contrast["difference"]
            assert rows[arm["arm"]][2] == f"{100 * gap['mean']:+.2f} [{100 * gap['low']:+.2f}, {100 * gap['high']:+.2f}]"
            assert float(rows[arm["arm"]][4]) == pytest.approx(contrast["p_value"], abs=5e-4)
            assert rows[arm["arm"]][5] == contrast["outcome"].replace("better", "worse")


def test_nothing_from_a_file_becomes_markup(tmp_path):
    builder = SweepBuilder(tmp_path, provenance={"started_at": HOSTILE, "hardware": {"cpu": HOSTILE, "cores": 2}})
    builder.trial(HOSTILE, 1, [0.3, 0.5], loss=HOSTILE)
    builder.trial("focal", 0, [], state=TrialState.FAILED, error=HOSTILE, gamma=1.0)
    builder.trial("focal", 1, [0.2, 0.4], gamma=2.0)
    builder.trial(HOSTILE, 0, [0.5], phase=Phase.CONFIRM, loss=HOSTILE)
    builder.done()
    text = report(str(tmp_path), format="html")
    parsed = Page(text)
    assert "img" not in parsed.tags
    assert parsed.tags.count("script") == 5
    assert HOSTILE not in text
    if CHROMIUM is not None:
        path = tmp_path / "hostile.html"
        path.write_text(text)
        dom, console = opened(path)
        assert console == []
        assert "<title>owned" not in dom
        assert 'data-charts="drawn"' in dom


def test_a_page_for_a_sweep_without_rows_and_for_several(tmp_path):
    SweepBuilder(tmp_path, "empty").done()
    searched(tmp_path, "searched").done()
    parsed = Page(report(str(tmp_path), format="html"))
    assert "Nothing to say yet" in parsed.texts["verdict"]
    assert parsed.tables[0][0] == "sweeps"
    assert [row[0] for row in parsed.tables[0][1][1:]] == ["empty", "searched"]
