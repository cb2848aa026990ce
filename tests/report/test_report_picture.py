"""The picture of the verdict: the figures of the JSON report, first on the page and among the pictures, and as lines of text."""

import json
import re

import numpy as np
import pytest
from rich.cells import cell_len
from sweeps import SPACE, SweepBuilder, searched

from sweeper.report import report, write_plots
from sweeper.report.chart_data import colour_of
from sweeper.report.charts import draw_charts
from sweeper.report.measure import find_measure
from sweeper.report.pictures import rendered
from sweeper.report.reading import read_sweep
from sweeper.report.statistics import estimate
from sweeper.report.summarize import summarize_sweep
from sweeper.report.summary import Estimate
from sweeper.report.verdict_chart import verdict_charts
from sweeper.report.verdict_figures import ArmFigures, VerdictFigures, draw_in_text
from sweeper.text import in_ascii

ENTROPY = (0.5691, 0.5626, 0.5685, 0.5693, 0.5670)
FOCAL = (0.5597, 0.5461, 0.5509, 0.5549)
NAMES = ("損失関数" * 16, "a" * 64, "Ωмега", "b", "c_d", "e" * 9, "🙂")
CHANCE = (0.10, 0.11, 0.105, 0.10, 0.11)


def figures_of(arms, measure="test_accuracy", unit="search", margin=0.005):
    """Figures of arms, the best first; differences are those of the means, with made-up intervals."""
    best = np.mean(next(iter(arms.values())))
    found = []
    for position, (arm, values) in enumerate(arms.items()):
        mean = estimate(np.array(values)) if values else None
        gap = estimate(np.array(values) - best) if position and values else None
        found.append(ArmFigures(arm, dict(enumerate(values, start=1)), mean, gap))
    return VerdictFigures(find_measure(measure), unit, tuple(found), margin)


def charts_of(figures):
    return {chart.name: chart for chart in verdict_charts(figures, "A sentence.", colour_of(tuple(arm.arm for arm in figures.arms)))}


def rows_of(chart):
    return chart.spec["data"]["values"]


def several(results, n_searches=5, n_seeds=2):
    """A sweep of three arms with several searches each; l1 has none that was confirmed."""
    builder = SweepBuilder(results, space=SPACE.replace("searches: 1", f"searches: {n_searches}").replace("seeds: 8", f"seeds: {n_seeds}"))
    rng = np.random.default_rng(3)
    for arm, top in (("l1", 0.3), ("cross_entropy", 0.57), ("focal", 0.58)):
        extra = {"gamma": 1.0} if arm == "focal" else {}
        for search in range(1, n_searches + 1):
            for number in range(4):
                builder.trial(arm, number, [0.1, 0.2, 0.25, top - number / 50], search=search, learning_rate=0.02, **extra)
            if arm != "l1":
                accuracies = [float(top + each) for each in rng.normal(0, 0.01, n_seeds)]
                builder.confirm(arm, accuracies, search=search, learning_rate=0.02, **extra)
    return builder.done()


def seeds_only(results):
    builder = searched(results)
    builder.confirm("cross_entropy", [0.570, 0.571, 0.575, 0.569, 0.573, 0.572, 0.570, 0.574], learning_rate=0.0123456789)
    builder.confirm("focal", [0.580, 0.590, 0.584, 0.579, 0.583, 0.588, 0.581, 0.582], learning_rate=0.03, gamma=0.1)
    return builder.done()


@pytest.mark.parametrize("make", [several, seeds_only])
@pytest.mark.parametrize("metric", ["accuracy", "nll"])
def test_the_numbers_of_the_picture_are_those_of_json(tmp_path, make, metric):
    stored = read_sweep(make(tmp_path))
    charts = {chart.name: chart for chart in draw_charts(stored, summarize_sweep(stored, "arm", find_measure(metric)))}
    found = json.loads(report(str(tmp_path), format="json", metric=metric))["sweeps"][0]
    comparison, column = found["comparison"], f"test_{metric}"
    searches = {arm["arm"]: arm["searches"] for arm in found["arms"]}
    dots, gaps = rows_of(charts["verdict_figures"]), rows_of(charts["verdict_differences"])
    assert comparison["unit"] == ("search" if make is several else "seed")
    for arm in comparison["arms"]:
        name, mean = arm["arm"], arm["measures"][column]
        if make is several:
            expected = {search["number"]: search["means"][column] for search in searches[name]}
        else:
            expected = dict(zip(searches[name][0]["seeds"], searches[name][0]["values"][column], strict=True))
        assert {row[comparison["unit"]]: row["value"] for row in dots if row["arm"] == name and "value" in row} == expected
        (shown,) = (row for row in dots if row["arm"] == name and "mean" in row)
        assert [shown[part] for part in ("mean", "low", "high")] == [mean[part] for part in ("mean", "low", "high")]
        (shown,) = (row for row in gaps if row["arm"] == name)
        if arm["contrast"] is None:
            assert (shown["difference"], "low" in shown) == (0.0, False)
        else:
            gap = arm["contrast"]["difference"]
            assert [shown["difference"], shown["low"], shown["high"]] == [gap["mean"], gap["low"], gap["high"]]
    bands = [layer["data"]["values"][0] for layer in charts["verdict_differences"].spec["layer"] if layer["mark"] == "rect"]
    assert bands == ([{"from": -0.005, "to": 0.005}] if metric == "accuracy" else [])
    assert comparison["margin"] == (0.005 if metric == "accuracy" else None)


def test_an_arm_without_a_figure_is_named_everywhere_and_has_no_dots(tmp_path):
    several(tmp_path)
    assert re.search(r"^l1 +no figure$", report(str(tmp_path)), re.MULTILINE)
    write_plots(str(tmp_path), tmp_path / "plots")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "plots" / "verdict.svg").read_text())
    assert texts.count("l1") == texts.count("no figure") == 2


def test_the_picture_comes_first_on_the_page_and_among_the_pictures(tmp_path):
    several(tmp_path / "results")
    names = [path.name for path in write_plots(str(tmp_path / "results"), tmp_path / "plots")]
    assert names[:3] == ["verdict.png", "verdict.svg", "verdict.pdf"]
    assert not [name for name in names[3:] if name.startswith("verdict")]
    page = report(str(tmp_path / "results"), format="html").partition("<script")[0]
    places = [page.index(part) for part in ('class="verdict"', 'id="chart-0-verdict_figures"', 'id="chart-0-verdict_differences"', "<h3")]
    assert places == sorted(places)
    assert page.count('id="chart-0-verdict') == 2
    assert "●" not in page


def test_the_picture_stands_in_the_text_formats_between_verdict_and_comparison(tmp_path):
    several(tmp_path)
    for format_, dot in (("table", "●"), ("markdown", "●"), ("latex", "o")):
        text = report(str(tmp_path), format=format_)
        lines = re.findall(rf"^(?:focal|cross_entropy) +\d\d\.\d [^\n]*{dot}[^\n]* \d\d\.\d$", text, re.MULTILINE)
        assert [line.partition(" ")[0] for line in lines] == ["focal", "cross_entropy"], format_
        assert text.index(lines[0]) < text.index("Comparison on the test split"), format_
    assert "●" not in report(str(tmp_path), format="latex")


def test_losses_that_cannot_be_compared_and_an_unconfirmed_sweep_have_no_picture(tmp_path):
    several(tmp_path / "several")
    searched(tmp_path / "searched").done()
    assert "●" not in report(str(tmp_path / "several"), metric="loss")
    assert "verdict_figures" not in report(str(tmp_path / "several"), metric="loss", format="html")
    assert "●" not in report(str(tmp_path / "searched"))
    assert not [path for path in write_plots(str(tmp_path / "searched"), tmp_path / "plots") if path.stem == "verdict"]


NOTEBOOK = """\
cross_entropy  54.3 ······································●·[·····●◆·●●●··] 57.1
focal          54.3 ·[····●········●···◆···●········●····]················· 57.1
l1             ← 10.5 [9.9, 11.1]
mae            no figure
● one search, ◆ mean, [ ] its 95 % interval"""
NARROW = """\
cross_entro…  54.3 ··········●[·◆●] 57.1
focal         54.3 [·●·●◆●··●]····· 57.1
l1            ← 10.5 [9.9, 11.1]
mae           no figure
● one search, ◆ mean, [ ] its 95 % interval"""
IN_ASCII = """\
cross_entropy  54.3 ......................................o.[.....o+.ooo..] 57.1
focal          54.3 .[....o........o...+...o........o....]................. 57.1
l1             < 10.5 [9.9, 11.1]
mae            no figure
o one search, + mean, [ ] its 95 % interval"""
NLL = """\
a  1.175 [·····●··◆···●·····]····························· 1.302
b  1.175 ···················[········●···●◆······●·······] 1.302
c                                         2.303 [2.301, 2.304] →
● one seed, ◆ mean, [ ] its 95 % interval"""


def test_the_picture_as_text_is_exact():
    notebook = figures_of({"cross_entropy": ENTROPY, "focal": FOCAL, "l1": CHANCE, "mae": ()})
    assert draw_in_text(notebook, 80) == NOTEBOOK
    assert draw_in_text(notebook, 40) == NARROW
    assert in_ascii(draw_in_text(notebook, 80)) == IN_ASCII
    nll = figures_of({"a": (1.2, 1.21, 1.19), "b": (1.25, 1.26, 1.28), "c": (2.302, 2.303, 2.303)}, "test_nll", "seed", None)
    assert draw_in_text(nll, 64) == NLL


def test_dots_without_an_interval_stand_alone():
    alone = figures_of({"a": (0.57,), "b": (0.56,)})
    assert draw_in_text(alone, 33) == "a  56.0 ···················● 57.0\nb  56.0 ●··················· 57.0\n● one search"
    assert draw_in_text(figures_of({"a": (0.57,)}), 33) == "a  57.0 ●··················· 57.1\n● one search"


def test_searches_that_found_the_same_configuration_have_a_mean_and_no_interval():
    alike = VerdictFigures(
        find_measure("test_accuracy"), "search", (ArmFigures("a", {1: 0.57, 2: 0.57}, Estimate(2, 0.57, *[None] * 3), None),)
    )
    assert draw_in_text(alike, 33) == "a  57.0 ◆··················· 57.1\n● one search, ◆ mean"
    assert rows_of(charts_of(alike)["verdict_figures"])[2] == {"arm": "a", "figure": "57.0", "mean": 0.57}


@pytest.mark.parametrize("n_arms", [1, 2, 7])
@pytest.mark.parametrize("n_units", [1, 2, 10])
@pytest.mark.parametrize("width", [36, 50, 80])
def test_every_line_fits_and_all_arms_have_one_scale(n_arms, n_units, width):
    rng = np.random.default_rng(0)
    figures = figures_of({name: tuple(0.57 - index / 500 + rng.normal(0, 0.004, n_units)) for index, name in enumerate(NAMES[:n_arms])})
    *lines, signs = draw_in_text(figures, width).splitlines()
    assert len(lines) == n_arms
    assert all(cell_len(line) <= width for line in lines)
    assert len({cell_len(line) for line in lines}) == len({(line.split()[-1], line.split()[-3]) for line in lines}) == 1
    assert signs == ("● one search" if n_units == 1 else "● one search, ◆ mean, [ ] its 95 % interval")


@pytest.mark.parametrize(("n_arms", "n_units"), [(1, 1), (2, 2), (7, 10)])
def test_the_picture_is_drawn_for_any_number_of_arms_and_searches_whatever_their_names(n_arms, n_units):
    figures = figures_of({name: tuple(0.57 - index / 500 + np.arange(n_units) / 900) for index, name in enumerate(NAMES[:n_arms])})
    svg = rendered(charts_of(figures)["verdict"])["svg"].decode()
    assert all(name[:20] in svg for name in NAMES[:n_arms])
    assert len(re.findall(r'd="[^"]*A[^"]*"[^>]*opacity="0.65"', svg)) == n_arms * n_units


def test_an_arm_far_from_all_others_is_off_the_scale_with_its_figure_and_only_then():
    charts = charts_of(figures_of({"cross_entropy": ENTROPY, "focal": FOCAL, "l1": CHANCE}))
    assert [row["text"] for row in rows_of(charts["verdict_figures"]) if "text" in row] == ["← 10.5 [9.9, 11.1]"]
    assert [row["text"] for row in rows_of(charts["verdict_differences"]) if "text" in row] == ["← -46.23 [-46.85, -45.61]"]
    assert "An arrow points to arms off this scale." in charts["verdict"].description
    charts = charts_of(figures_of({"cross_entropy": ENTROPY, "l1": CHANCE}))
    assert not [row for row in rows_of(charts["verdict_figures"]) if "text" in row]
    assert "arrow" not in charts["verdict"].description


def test_the_picture_has_two_panels_in_the_colours_of_the_arms_and_one_where_there_is_one_arm():
    figures = figures_of({"cross_entropy": ENTROPY, "focal": FOCAL})
    verdict = charts_of(figures)["verdict"]
    assert [panel["title"] for panel in verdict.spec["hconcat"]] == ["Test accuracy by search", "Difference to cross_entropy"]
    assert verdict.description.startswith("A sentence. Dots: one search each.")
    svg = rendered(verdict)["svg"].decode()
    for colour, n_dots in zip(colour_of(("cross_entropy", "focal")).values(), (len(ENTROPY), len(FOCAL)), strict=True):
        assert len(re.findall(rf'fill="{colour}"[^>]*opacity="0.65"', svg)) == n_dots
        assert len(re.findall(rf'fill="{colour}" stroke="currentColor"', svg)) == 2  # a diamond in each panel
    alone = charts_of(figures_of({"cross_entropy": ENTROPY}))
    assert set(alone) == {"verdict_figures", "verdict"}
    assert len(alone["verdict"].spec["hconcat"]) == 1
