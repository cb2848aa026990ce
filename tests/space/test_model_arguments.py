"""What models of the user's own are built with: given under training, tuned under parameters, set by arms."""

import pytest
from spaces import base, space_of

from sweeper.errors import SpaceError
from sweeper.records import Architecture
from sweeper.space import dump_space, parse_space

NET, PLAIN, GAMMA, DEEP = (f"models_for_spaces:{name}" for name in ("Net", "Plain", "Gamma", "deep"))


def messages(data):
    with pytest.raises(SpaceError) as caught:
        space_of(data)
    return [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


def space_with(trained=None, compare=None, **parameters):
    training = {"epochs": 9, **({"model": trained} if trained else {})}
    tuned = {"loss": "cross_entropy", "learning_rate": 0.1, **parameters}
    return base(training=training, parameters=tuned, **({"compare": {"arms": compare}} if compare else {}))


def test_arguments_of_a_model_are_kept_with_null_and_reach_the_trials():
    space = space_of(space_with({"path": NET, "weights": None, "width": 64}))
    assert parse_space(dump_space(space), "dumped") == space
    assert "weights: null" in dump_space(space)
    assert space.architectures == (Architecture(NET, (("weights", None), ("width", 64))),)
    assert str(space.architectures[0]) == f"{NET} (weights=None, width=64)"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"path": "convnet", "width": 3}, "convnet takes no arguments, got width; a model of your own may"),
        ({"path": PLAIN, "channels": [1, 2]}, "argument channels must be a number, text, true, false or null, got a list"),
        ({"name": PLAIN}, "must be a name, or {path: my_package.my_module:MyNet, its arguments: their values}, got a mapping"),
        ({"path": "my_nets"}, "unknown model 'my_nets'; known: convnet; one of your own is written my_package.my_module:MyNet"),
    ],
)
def test_a_model_written_wrongly_is_refused_with_the_rule(model, said):
    (found,) = messages(space_with(model))
    assert found.startswith(f"training.model: {said}")


def test_a_required_argument_can_be_given_in_each_of_the_three_places():
    for data in (
        space_with({"path": DEEP, "depth": 3}),
        space_with(DEEP, depth={"type": "int", "low": 2, "high": 5}),
        space_with(compare="model", model={"choices": ["convnet", {"name": "deep", "model": DEEP, "depth": 4}]}),
    ):
        assert {each.name for each in space_of(data).architectures} <= {DEEP, "convnet"}


def test_a_tuned_name_that_the_model_has_is_the_models_and_is_tried_at_both_ends():
    space = space_of(space_with(PLAIN, channels={"type": "int", "low": 4, "high": 16}))
    assert space.model_parameters == ("channels",)
    assert space.architectures == tuple(Architecture(PLAIN, (("channels", end),)) for end in (4, 16))
    settings = space.training_settings()
    drawn = {"loss": "cross_entropy", "learning_rate": 0.1, "channels": 7}
    assert settings.architecture(drawn) == Architecture(PLAIN, (("channels", 7),))
    assert settings.of_loss(drawn) == {"loss": "cross_entropy", "learning_rate": 0.1}


def test_models_as_arms_have_their_own_arguments_alone():
    choices = ["convnet", {"name": "narrow", "model": PLAIN, "channels": 4}, {"name": "any", "model": NET, "groups": 2}]
    space = space_of(space_with(compare="model", model={"choices": choices}))
    assert parse_space(dump_space(space), "dumped") == space
    names = {arm.name: {each.name for each in space.definitions(arm)} - {"loss", "model"} for arm in space.arms}
    training = names["convnet"]
    assert {"channels", "groups"} & training == set()
    assert (names["narrow"] - training, names["any"] - training) == ({"channels"}, {"groups"})
    assert set(space.architectures) == {
        Architecture("convnet"),
        Architecture(PLAIN, (("channels", 4),)),
        Architecture(NET, (("groups", 2),)),
    }
    assert space.parameter_types()["model"] == "string"
    assert space.custom_code == (PLAIN, NET)
    assert space.is_comparable("val_loss")


def test_an_argument_of_one_of_several_models_needs_the_condition_that_says_whose_it_is():
    models = {"choices": ["convnet", PLAIN]}
    wide = {"type": "int", "low": 4, "high": 16}
    assert messages(space_with(compare="model", model=models, channels=wide)) == [
        f"parameters.channels: only model '{PLAIN}' has this parameter; add when: {{model: {PLAIN}}}"
    ]
    space = space_of(space_with(compare="model", model=models, channels={**wide, "when": {"model": PLAIN}}))
    assert [{each.name for each in space.definitions(arm) if each.is_free} for arm in space.arms] == [set(), {"channels"}]


def test_a_name_that_a_loss_and_a_model_have_is_refused_with_a_way_out():
    gamma = {"low": 0.0, "high": 5.0}
    assert messages(space_with(GAMMA, loss="focal", gamma=gamma)) == [
        (
            f"parameters.gamma: both loss 'focal' and model '{GAMMA}' have this parameter; rename the model's, or give it its value under "
            f"training, model: {{path: {GAMMA}, gamma: ...}}"
        )
    ]
    space = space_of(space_with({"path": GAMMA, "gamma": 1.0}, loss="focal", gamma=gamma))
    assert space.model_parameters == ()
    assert space.training_settings().architecture({"gamma": 3.0}) == Architecture(GAMMA, (("gamma", 1.0),))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            space_with({"path": PLAIN, "channels": 4}, channels=8),
            "parameters.channels: is set under training.model too, to 4; keep one of the two",
        ),
        (space_with(PLAIN, model=NET), "parameters.model: is set under training too; keep one of the two"),
        (
            space_with(PLAIN, chanels=8),
            f"parameters.chanels: no parameter of loss 'cross_entropy' or model '{PLAIN}' has this name; did you mean 'channels'?",
        ),
        (
            space_with({"path": PLAIN, "chanels": 8}),
            f"training.model.chanels: '{PLAIN}' has no parameter of this name; did you mean 'channels'?",
        ),
        (
            space_with(compare="model", model={"choices": ["convnet", "resnet"]}),
            "parameters.model.choices[1]: unknown model 'resnet'; known: convnet; one of your own is written my_package.my_module:MyNet",
        ),
    ],
)
def test_a_mistake_about_models_is_told_with_its_place(data, said):
    assert messages(data) == [said]
