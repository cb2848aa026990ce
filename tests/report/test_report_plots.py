"""Pictures: which there are, what is in them, that the same sweep gives the same bytes."""

import re

import numpy as np
import pytest
from PIL import Image
from sweeps import SweepBuilder, plausible, searched

from sweeper.errors import StoreError
from sweeper.records import TrialState
from sweeper.report import write_plots
from sweeper.report.chart_data import best_so_far, colour_of, epoch_curves, parameter_points, tuned_parameters
from sweeper.report.importance import parameter_importance
from sweeper.report.measure import find_measure
from sweeper.report.plots import draw_figures
from sweeper.report.reading import read_sweep
from sweeper.report.summarize import summarize_sweep
from sweeper.store import SweepFolder

ACCURACY = find_measure("val_accuracy")
NAMES = {
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


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    plausible(folder, trials=30, epochs=6, seeds=3, images=200)
    return folder


def test_every_picture_is_written_as_png_and_svg(results, tmp_path):
    paths = write_plots(str(results), tmp_path / "plots")
    assert {path.name for path in paths} == {f"{name}.{suffix}" for name in NAMES for suffix in ("png", "svg")}
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert picture.width >= 700
                assert np.ptp(np.asarray(picture.convert("L"))) > 100
        else:
            assert "<svg" in path.read_text()[:1000]


def test_the_same_sweep_gives_the_same_bytes(tmp_path):
    searched(tmp_path / "results").done()
    first = {path.name: path.read_bytes() for path in write_plots(str(tmp_path / "results"), tmp_path / "one")}
    second = {path.name: path.read_bytes() for path in write_plots(str(tmp_path / "results"), tmp_path / "two")}
    assert first == second


def test_axes_are_named_with_their_units(results):
    figures = dict(draw_figures(read_sweep(SweepFolder(str(next(results.iterdir()))))))
    for name, figure in figures.items():
        texts = [text for axes in figure.axes if axes.get_visible() for text in (axes.get_xlabel(), axes.get_ylabel()) if text]
        assert texts or name in ("parallel_coordinates",), name
    assert figures["learning_curves"].axes[0].get_ylabel() == "accuracy"
    assert figures["learning_curves"].axes[0].yaxis.get_major_formatter()(0.5, 0) == "50 %"
    assert figures["best_against_budget"].axes[0].get_xlabel() == "epochs spent on the arm's search"


def test_an_arm_has_one_colour_in_every_picture(results):
    figures = dict(draw_figures(read_sweep(SweepFolder(str(next(results.iterdir()))))))
    colours = colour_of(("l1", "cross_entropy", "focal"))
    assert len(set(colours.values())) == 3
    panels = {axes.get_title(loc="left"): axes for axes in figures["learning_curves"].axes}
    assert panels["focal"].lines[-1].get_color() == colours["focal"]
    assert [line.get_color() for line in figures["best_against_budget"].axes[0].lines[::2]] == list(colours.values())


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
