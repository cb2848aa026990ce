"""One parameter that the arms of a sweep have on different scales, or some of them not as a range: the page and the pictures stand it."""

import itertools
import re
import warnings

import numpy as np
import pytest
from sweeps import SweepBuilder

from sweeper.report import report
from sweeper.report.chart_data import complete_configurations, parameter_points, tuned_parameters
from sweeper.report.charts import draw_charts
from sweeper.report.measure import find_measure
from sweeper.report.reading import read_sweep
from sweeper.report.summarize import summarize_sweep

SPACE = """
name: scales
dataset: {{name: synthetic, validation: 50, train_images: 500, test_images: 100}}
training: {{epochs: 2, learning_rate: 0.1}}
parameters:
  loss:
    choices:
      - {{name: one, loss: cross_entropy{one}}}
      - {{name: two, loss: poly1{two}}}
{top}
compare: {{arms: loss, trials_per_arm: 12, seeds: 0}}
"""
OF_ARMS = {
    "logarithmic": ("weight_decay", "{low: 1.0e-6, high: 1.0e-2, log: true}", [1e-6, 1e-4, 1e-2]),
    "linear": ("weight_decay", "{low: 0.0, high: 0.01}", [0.0, 0.004, 0.01]),
    "stepped": ("weight_decay", "{low: 0.0, high: 1.0, step: 0.5}", [0.0, 0.5, 1.0]),
    "constant 0": ("weight_decay", "0.0", [0.0]),
    "constant > 0": ("weight_decay", "0.001", [0.001]),
    "the default": ("weight_decay", None, [0.0]),
}
OF_WHOLE_NUMBERS = {
    "whole": ("step_size", "{type: int, low: 1, high: 3}", [1, 2, 3]),
    "whole, logarithmic": ("step_size", "{type: int, low: 1, high: 300, log: true}", [1, 17, 300]),
    "constant 1": ("step_size", "1", [1]),
    "one of some": ("step_size", None, [2, 4]),
}
TOP = {
    "weight_decay": "",
    "step_size": "  step_gamma: 0.5\n  step_size: {choices: [2, 4]}",
    "epsilon": "  epsilon: {low: -1.0, high: 4.0, when: {loss: poly1}}",
}


def sweep_of(folder, one, two):
    """A sweep of two arms that have a parameter in these two ways, twelve complete trials each."""
    name = one[0]
    settings = [f", {name}: {written}" if written else "" for _, written, _ in (one, two)]
    builder = SweepBuilder(folder, space=SPACE.format(one=settings[0], two=settings[1], top=TOP[name]))
    for arm, loss, (_, _, values) in (("one", "cross_entropy", one), ("two", "poly1", two)):
        for number, value in zip(range(12), itertools.cycle(values)):
            given = {} if value is None else {name: value}
            builder.trial(arm, number, [0.1, 0.3 + 0.01 * number], loss=loss, **given)
    return builder.done()


def charts_of(stored):
    summary = summarize_sweep(stored, "arm", find_measure("val_accuracy"))
    return {chart.name: chart for chart in draw_charts(stored, summary)}


def values_in(spec):
    """Every row of data that stands anywhere in a specification."""
    if isinstance(spec, list):
        for part in spec:
            yield from values_in(part)
    elif isinstance(spec, dict):
        yield from spec.get("data", {}).get("values", [])
        yield from values_in([part for key, part in spec.items() if key != "data"])


WAYS = {**OF_ARMS, **OF_WHOLE_NUMBERS}
PAIRS = [*itertools.product(OF_ARMS, repeat=2), *itertools.product(OF_WHOLE_NUMBERS, repeat=2)]


@pytest.mark.parametrize(("one", "two"), PAIRS)
def test_arms_may_have_one_parameter_on_different_scales(tmp_path, one, two):
    folder = sweep_of(tmp_path, WAYS[one], WAYS[two])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = report(str(tmp_path), format="html")
        charts = charts_of(read_sweep(folder))
    searched = [way for way in (one, two) if (WAYS[way][1] or "").startswith("{")]
    name = WAYS[one][0]
    assert (f"parameter_{name}" in charts) == bool(searched)
    assert f"{name} (log scale)" in page or not searched or not all("logarithmic" in way for way in searched)
    assert f"{name} (log scale)" not in page or all("logarithmic" in way for way in searched)
    for chart in charts.values():
        values = list(values_in(chart.for_picture()))
        assert values
        numbers = [number for row in values for number in row.values() if isinstance(number, float | int)]
        assert np.isfinite(numbers).all()
    for name in [name for name in charts if name.startswith("parameter_")]:
        points = [row["parameter"] for row in charts[name].spec["data"]["values"]]
        is_log = charts[name].spec["encoding"]["x"]["scale"]["type"] == "log"
        assert len(points) >= 12
        assert min(points) > 0 or not is_log


def test_a_parameter_that_one_arm_has_alone_is_drawn_for_it_alone(tmp_path):
    name = "epsilon"
    folder = sweep_of(tmp_path, (name, None, [None]), (name, None, [0.0, 0.5, 0.9]))
    stored, measure = read_sweep(folder), find_measure("val_accuracy")
    (tuned,) = tuned_parameters(stored)
    assert set(parameter_points(stored, measure, tuned)["arm"]) == {"two"}
    configurations = complete_configurations(stored, measure, [tuned])
    assert configurations.groupby("arm")[name].count().to_dict() == {"one": 0, "two": 12}
    assert re.search(rf'"title":"{name}"', report(str(tmp_path), format="html"))
    assert f"parameter_{name}" in charts_of(stored)
