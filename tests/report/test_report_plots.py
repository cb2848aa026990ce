"""Pictures: which there are, what is in them, that the same sweep gives the same bytes."""

import html
import itertools
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sweeps import SPACE, SweepBuilder, plausible, searched

from sweeper.errors import StoreError
from sweeper.records import TrialState
from sweeper.report import write_plots
from sweeper.report.chart_data import best_so_far, colour_of, epoch_curves, parameter_points, tuned_parameters
from sweeper.report.charts import draw_charts
from sweeper.report.importance import parameter_importance
from sweeper.report.measure import find_measure
from sweeper.report.pictures import rendered
from sweeper.report.reading import read_sweep
from sweeper.report.summarize import summarize_sweep
from sweeper.store import SweepFolder

ACCURACY = find_measure("val_accuracy")
NAMES = {
    "verdict",
    "learning_curves",
    "loss_and_accuracy",
    "best_against_budget",
    "parameter_learning_rate",
    "parameter_step_size",
    "parameter_step_gamma",
    "parameter_gamma",
    "parallel_coordinates",
    "importance",
    "reliability",
    "confusion",
}
NAMED_BY_ROWS = {("importance", "y"), ("verdict", "y")}
"""Axes whose labels are the names of parameters or arms."""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    plausible(folder, trials=30, epochs=6, seeds=3, images=200)
    return folder


@pytest.fixture(scope="module")
def charts(results):
    stored = read_sweep(SweepFolder(str(next(results.iterdir()))))
    return {chart.name: chart for chart in draw_charts(stored, summarize_sweep(stored, "arm", ACCURACY))}


def texts_of(svg):
    """Every text that stands in a picture."""
    return [html.unescape(text) for text in re.findall(r"<(?:text|tspan)[^>]*>([^<]+)<", svg.decode())]


def layers_of(spec):
    """Each layer of a picture with what it is encoded by, that of the chart around it too."""
    inner = spec.get("spec", spec)
    for panel in inner.get("hconcat", [inner]):
        for layer in panel["layer"]:
            yield layer, {**panel.get("encoding", {}), **layer.get("encoding", {})}


def test_every_picture_is_written_as_png_svg_and_pdf(results, tmp_path):
    paths = write_plots(str(results), tmp_path / "plots")
    assert {path.name for path in paths} == {f"{name}.{suffix}" for name in NAMES for suffix in ("png", "svg", "pdf")}
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert picture.width >= 700
                assert np.ptp(np.asarray(picture.convert("L"))) > 100
        elif path.suffix == ".svg":
            assert "<svg" in path.read_text()[:1000]
        else:
            assert path.read_bytes().startswith(b"%PDF-")
            assert b"/Font" in path.read_bytes()


def test_the_same_sweep_gives_the_same_bytes(tmp_path):
    searched(tmp_path / "results").done()
    first = {path.name: path.read_bytes() for path in write_plots(str(tmp_path / "results"), tmp_path / "one") if path.suffix != ".pdf"}
    second = {path.name: path.read_bytes() for path in write_plots(str(tmp_path / "results"), tmp_path / "two") if path.suffix != ".pdf"}
    assert first == second
    assert len(first) >= 8


def test_axes_are_named_with_their_units(charts):
    for name, chart in charts.items():
        panels = chart.for_picture().get("hconcat") or [chart.for_picture().get("spec", chart.spec)]
        for axis, panel in itertools.product("xy", panels):
            assert panel["encoding"][axis].get("title") or name == "parallel_coordinates" or (name.partition("_")[0], axis) in NAMED_BY_ROWS
    texts = {name: texts_of(rendered(charts[name])["svg"]) for name in ("learning_curves", "best_against_budget", "loss_and_accuracy")}
    assert "accuracy" in texts["learning_curves"]
    assert "50%" in texts["learning_curves"]
    assert "epochs spent on a search" in texts["best_against_budget"]
    assert "best validation accuracy so far" in texts["best_against_budget"]
    assert {"mean loss per image", "loss", "accuracy", "epoch"} <= set(texts["loss_and_accuracy"])


def test_a_picture_says_what_it_shows_and_names_every_arm_and_line(charts):
    for name, arms in (("learning_curves", 3), ("reliability", 3), ("parameter_learning_rate", 3), ("parameter_gamma", 1)):
        texts = texts_of(rendered(charts[name])["svg"])
        assert texts.count("focal") == 2, name  # over its panel, and in the legend
        assert texts.count("cross_entropy") == (2 if arms == 3 else 0), name
        assert charts[name].title in texts
        assert charts[name].description in " ".join(texts), name
    assert {"validation", "training"} <= set(texts_of(rendered(charts["learning_curves"])["svg"]))
    assert "best of the arm" in texts_of(rendered(charts["parameter_gamma"])["svg"])
    assert sum(bool(re.fullmatch(r"ECE \d+\.\d % → \d+\.\d %", text)) for text in texts_of(rendered(charts["reliability"])["svg"])) == 3


def test_an_arm_has_one_colour_in_every_picture(charts):
    colours = colour_of(("l1", "cross_entropy", "focal"))
    assert len(set(colours.values())) == 3
    n_scales = 0
    for name, chart in charts.items():
        for _, encoding in layers_of(chart.for_picture()):
            if encoding.get("color", {}).get("field") == "arm":
                scale = encoding["color"]["scale"]
                assert dict(zip(scale["domain"], scale["range"], strict=True)).items() <= colours.items(), name
                n_scales += 1
    assert n_scales >= len(NAMES)
    assert charts["learning_curves"].for_picture()["facet"]["sort"] == list(colours)
    for name in ("learning_curves", "best_against_budget"):
        strokes = re.findall(r'stroke="(#[0-9A-Fa-f]{6})" stroke-width="2', rendered(charts[name])["svg"].decode())
        assert set(strokes) == set(colours.values()), name


def test_the_cross_marks_the_best_complete_trial_of_each_arm(results, charts):
    stored = read_sweep(SweepFolder(str(next(results.iterdir()))))
    best = {arm.arm: arm.best.trial for arm in summarize_sweep(stored, "arm", ACCURACY).arms}
    for name, arms in (("parameter_learning_rate", set(best)), ("parameter_gamma", {"focal"})):
        marked = {row["arm"]: row["trial"] for row in charts[name].spec["data"]["values"] if "is_best" in row}
        assert marked == {arm: best[arm] for arm in arms}


def test_the_learning_curves_have_bands_and_thin_lines(charts):
    rows = charts["learning_curves"].spec["data"]["values"]
    assert {row["role"] for row in rows} == {"chosen", "thin", "band", "training band"}
    assert len({(row["arm"], row["trial"]) for row in rows if row["role"] == "thin"}) == 87
    bands = [row for row in rows if row["role"] == "band"]
    assert len(bands) == 3 * 6
    assert all(row["low"] <= row["high"] for row in bands)
    areas = re.findall(r'd="([^"]*)" fill="#[^"]*" opacity="0.25"', rendered(charts["learning_curves"])["svg"].decode())
    assert [path.count("L") for path in areas] == [11, 11, 11]  # six epochs forth, six back


def test_only_the_page_has_layers_for_a_pointer(charts):
    for chart in charts.values():
        assert '"param"' not in str(chart.for_picture()).replace("'", '"')
    assert '"param"' in str(charts["learning_curves"].for_page()).replace("'", '"')


def test_curves_have_roles(results):
    stored = read_sweep(SweepFolder(str(next(results.iterdir()))))
    summary = summarize_sweep(stored, "arm", ACCURACY)
    curves = epoch_curves(stored, summary)
    roles = curves.groupby("role")["trial"].nunique()
    assert dict(roles) == {"chosen": 3, "confirm": 9, "thin": 87}


def test_the_best_so_far_counts_the_epochs_of_every_trial(tmp_path):
    builder = SweepBuilder(tmp_path)
    builder.trial("focal", 0, [0.1, 0.2], state=TrialState.PRUNED, gamma=1.0)
    builder.trial("focal", 1, [0.1, 0.2, 0.3, 0.4], gamma=1.0)
    builder.trial("focal", 2, [0.1, 0.2, 0.3, 0.35], gamma=1.0)
    builder.trial("focal", 3, [0.1, 0.2, 0.3, 0.5], gamma=1.0)
    table = best_so_far(read_sweep(builder.done()), ACCURACY)
    assert table[["spent", "best"]].to_numpy().tolist() == [[6, 0.4], [10, 0.4], [14, 0.5]]


def test_each_search_has_a_best_so_far_of_its_own(tmp_path):
    builder = SweepBuilder(tmp_path, space=SPACE.replace("searches: 1", "searches: 2"))
    builder.trial("focal", 0, [0.1, 0.2, 0.3, 0.4], gamma=1.0)
    builder.trial("focal", 1, [0.1, 0.2, 0.3, 0.5], gamma=1.0)
    builder.trial("focal", 0, [0.1, 0.2, 0.3, 0.3], search=2, gamma=1.0)
    builder.trial("focal", 1, [0.1], state=TrialState.PRUNED, search=2, gamma=1.0)
    table = best_so_far(read_sweep(builder.done()), ACCURACY)
    assert table[["search", "spent", "best"]].to_numpy().tolist() == [[1, 4, 0.4], [1, 8, 0.5], [2, 4, 0.3], [2, 5, 0.3]]


def test_parameters_are_those_that_the_space_searches(tmp_path):
    stored = read_sweep(searched(tmp_path).done())
    assert [(each.name, each.is_log, each.is_whole, each.arms) for each in tuned_parameters(stored)] == [
        ("learning_rate", True, False, ("l1", "cross_entropy", "focal")),
        ("step_size", False, True, ("l1", "cross_entropy", "focal")),
        ("gamma", False, False, ("focal",)),
    ]
    points = parameter_points(stored, ACCURACY, next(each for each in tuned_parameters(stored) if each.name == "gamma"))
    assert sorted(points["parameter"]) == [0.1, 2.0, 3.0, 4.5]


def test_the_parameter_that_decides_is_the_important_one(tmp_path):
    builder = SweepBuilder(tmp_path)
    rng = np.random.default_rng(0)
    for number in range(40):
        rate = float(10 ** rng.uniform(-4, 0))
        builder.trial("l1", number, [float(-abs(np.log10(rate) + 2) / 10 + 0.5)], learning_rate=rate, step_size=int(rng.integers(2, 16)))
    shares = parameter_importance(read_sweep(builder.done()), ACCURACY).set_index("parameter")["importance"]
    assert shares["learning_rate"] > 0.6
    assert shares.sum() == pytest.approx(1)


def test_few_trials_say_nothing_about_importance(tmp_path):
    assert parameter_importance(read_sweep(searched(tmp_path).done()), ACCURACY).empty


def test_a_sweep_without_rows_has_no_pictures(tmp_path):
    SweepBuilder(tmp_path / "results").done()
    assert write_plots(str(tmp_path / "results"), tmp_path / "plots") == []


def test_several_sweeps_get_a_folder_each(tmp_path):
    searched(tmp_path / "results", "one").done()
    searched(tmp_path / "results", "two").done()
    paths = write_plots(str(tmp_path / "results"), tmp_path / "plots")
    assert {path.parent.name for path in paths} == {"one", "two"}


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    searched(tmp_path / "results").done()
    (tmp_path / "plots").write_text("a file")
    with pytest.raises(StoreError, match="plots: cannot write a picture there"):
        write_plots(str(tmp_path / "results"), tmp_path / "plots")


def test_names_with_signs_of_mathematics_are_drawn_as_they_are(tmp_path):
    builder = SweepBuilder(tmp_path / "results")
    builder.trial("$\\frac{1}$_%^", 0, [0.2, 0.3], loss="l1")
    builder.done()
    paths = write_plots(str(tmp_path / "results"), tmp_path / "plots")
    assert any(path.name == "learning_curves.png" for path in paths)
    assert not any(re.search(r"<script", path.read_text()) for path in paths if path.suffix == ".svg")


def test_a_trial_of_one_epoch_is_a_point(tmp_path):
    builder = SweepBuilder(tmp_path / "results")
    builder.trial("l1", 0, [0.2], loss="l1")
    builder.trial("l1", 1, [0.3], loss="l1")
    stored = read_sweep(builder.done())
    (curves,) = (chart for chart in draw_charts(stored, summarize_sweep(stored, "arm", ACCURACY)) if chart.name == "learning_curves")
    points = [row for row in curves.spec["data"]["values"] if row.get("is_point")]
    assert sorted((row["role"], row["accuracy"]) for row in points) == [("chosen", 0.28), ("chosen", 0.3), ("thin", 0.2)]
    group = rendered(curves)["svg"].decode()
    assert len(re.findall(r'aria-roledescription="point"|<path transform="translate\([^)]*\)" d="M2,0A', group)) == 3


def test_names_in_any_writing_stand_in_the_svg_and_leave_a_mark_in_the_png(tmp_path):
    names = ("損失", "Ωмега", "🙂")
    builder = SweepBuilder(tmp_path / "results")
    for name in names:
        builder.trial(name, 0, [0.2, 0.3], loss="l1")
    stored = read_sweep(builder.done())
    (curves,) = (chart for chart in draw_charts(stored, summarize_sweep(stored, "arm", ACCURACY)) if chart.name == "learning_curves")
    assert all(texts_of(rendered(curves)["svg"]).count(name) == 2 for name in names)


def test_a_machine_without_fonts_has_letters_in_its_pictures(tmp_path):
    text = '<text y="30" font-family="sans-serif" font-size="24">words</text>'
    svg = tmp_path / "text.svg"
    svg.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="200" height="40">{text}</svg>')
    code = "import sys, vl_convert; open(sys.argv[2], 'wb').write(vl_convert.svg_to_png(open(sys.argv[1]).read()))"
    (tmp_path / "fonts.conf").write_text('<?xml version="1.0"?><fontconfig></fontconfig>')
    none = {**os.environ, "FONTCONFIG_FILE": str(tmp_path / "fonts.conf"), "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code, str(svg), str(tmp_path / "text.png")], env=none, check=True, timeout=60)
    with Image.open(tmp_path / "text.png") as picture:
        assert np.count_nonzero(np.asarray(picture)[..., 3]) > 300
