from spaces import base, space_of

from sweeper.space.configurations import loss_points

ANY, SCALED, TEMPERED = (f"losses_for_spaces:{name}" for name in ("anything", "scaled", "Tempered"))


def points(**parameters):
    space = space_of({**base(parameters={"learning_rate": 0.1, **parameters}), "compare": {"arms": "loss"}})
    rest = {"learning_rate", "momentum", "weight_decay", "step_size", "step_gamma", "batch_size", "loss"}
    return {
        loss: [{k: v for k, v in point.items() if k not in rest} for point in found]
        for loss, found in loss_points(space.definitions_by_arm).items()
    }


def test_every_range_is_tried_at_both_ends_and_every_choice_once():
    found = points(
        loss={"choices": ["l1", ANY]},
        tau={"low": 0.1, "high": 1.0, "when": {"loss": ANY}},
        kind={"choices": ["a", "b", "c"], "when": {"loss": ANY}},
    )
    assert found == {ANY: [{"tau": 0.1, "kind": "a"}, {"tau": 1.0, "kind": "b"}, {"tau": 0.1, "kind": "c"}]}


def test_stepped_ranges_and_whole_numbers_have_ends_too():
    found = points(
        loss={"choices": ["l1", ANY]},
        tau={"low": 0.1, "high": 0.9, "step": 0.2, "when": {"loss": ANY}},
        n={"type": "int", "low": 1, "high": 5, "step": 2, "when": {"loss": ANY}},
    )
    assert found == {ANY: [{"tau": 0.1, "n": 1}, {"tau": 0.9, "n": 5}]}


def test_each_arm_has_its_own_points_and_each_loss_only_what_exists_for_it():
    found = points(
        loss={
            "choices": [
                "focal",
                {"name": "wide", "loss": SCALED, "scale": {"type": "int", "low": 1, "high": 4}},
                {"name": "fixed", "loss": SCALED, "scale": 9},
                TEMPERED,
            ]
        },
        t1={"low": 0.0, "high": 1.0, "when": {"loss": TEMPERED}},
    )
    assert found[SCALED] == [{"scale": 1, "kind": "plain"}, {"scale": 4, "kind": "plain"}, {"scale": 9, "kind": "plain"}]
    assert found[TEMPERED] == [{"t1": 0.0, "t2": 1.0, "smooth": False}, {"t1": 1.0, "t2": 1.0, "smooth": False}]


def test_losses_of_the_catalogue_are_not_tried():
    assert points(loss={"choices": ["l1", "mse"]}) == {}
