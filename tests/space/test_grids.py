import itertools

import pytest
from spaces import base, space_of

from sweeper.errors import SpaceError
from sweeper.studies.optuna_parts import grid

PARAMETERS = {
    "loss": {"choices": ["l1", "focal"]},
    "gamma": {"choices": [0, 1, 2], "when": {"loss": "focal", "momentum": 0.9}},
    "momentum": {"choices": [0.5, 0.9]},
    "step_size": {"type": "int", "low": 2, "high": 6, "step": 2},
    "step_gamma": {"low": 0.1, "high": 0.7, "step": 0.2},
    "learning_rate": 0.1,
}


def gridded(parameters=None, sampler="grid", **sections):
    return space_of(base(parameters=parameters or PARAMETERS, search={"sampler": sampler}, **sections))


def test_the_grid_holds_every_valid_configuration_once():
    space = gridded()
    points = grid(space, space.arms[0])
    expected = set()
    for loss, momentum, step_size, step_gamma in itertools.product(["l1", "focal"], [0.5, 0.9], [2, 4, 6], [0.1, 0.3, 0.5, 0.7]):
        gammas = [0.0, 1.0, 2.0] if loss == "focal" and momentum == 0.9 else [None]
        expected |= {(loss, momentum, step_size, step_gamma, gamma) for gamma in gammas}
    found = [(one["loss"], one["momentum"], one["step_size"], one["step_gamma"], one.get("gamma")) for one in points]
    assert len(found) == len(set(found)) == 72
    assert set(found) == expected


def test_the_order_depends_on_the_seed_alone():
    one, same, other = gridded(), gridded(), gridded(seed=2)
    assert grid(one, one.arms[0]) == grid(same, same.arms[0])
    assert grid(one, one.arms[0]) != grid(other, other.arms[0])
    assert sorted(map(str, grid(one, one.arms[0]))) == sorted(map(str, grid(other, other.arms[0])))


def test_no_more_trials_are_planned_than_the_grid_has_points():
    space = gridded(compare={"trials_per_arm": 100, "arms": "loss"})
    assert [space.planned_trials(arm) for arm in space.arms] == [24, 48]
    space = gridded(compare={"trials_per_arm": 30, "arms": "loss"})
    assert [space.planned_trials(arm) for arm in space.arms] == [24, 30]


@pytest.mark.parametrize(
    ("learning_rate", "expected"),
    [
        ({"low": 0.0001, "high": 1.0, "log": True}, [1e-4, 1e-2, 1.0]),
        ({"low": 0.1, "high": 0.3}, [0.1, 0.2, 0.3]),
    ],
)
def test_a_continuous_range_has_as_many_points_as_the_sampler_says(learning_rate, expected):
    space = gridded({"loss": "l1", "learning_rate": learning_rate}, {"name": "grid", "points": 3})
    assert sorted(point["learning_rate"] for point in grid(space, space.arms[0])) == pytest.approx(expected)


def test_a_continuous_range_without_points_is_refused():
    with pytest.raises(SpaceError) as caught:
        gridded({"loss": "l1", "learning_rate": {"low": 0.1, "high": 1.0}})
    (problem,) = caught.value.problems
    assert problem.message == "'learning_rate' is continuous: give it a step or choices, or write sampler: {name: grid, points: 5}"


def test_a_grid_beyond_all_budgets_is_refused_before_it_is_built():
    with pytest.raises(SpaceError) as caught:
        gridded({"loss": "l1", "learning_rate": 0.1, "batch_size": {"type": "int", "low": 1, "high": 1_000_000}})
    (problem,) = caught.value.problems
    assert problem.message == "the grid of arm 'all' has more than 100,000 points; use another sampler"
