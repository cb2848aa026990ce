"""What is written reads back as the same space, whatever it holds."""

from pathlib import Path

import optuna
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spaces import base, space_of

from sweeper.errors import SpaceError
from sweeper.space import as_override, dump_space, load_space, parse_space
from sweeper.studies.optuna_parts import build_pruner, build_sampler, draw

FILES = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))
numbers = st.floats(1e-3, 1.0).map(lambda value: float(f"{value:.3g}"))
names = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp", "Cn", "Co", "Cf")), min_size=1, max_size=20)


@st.composite
def ranges(draw_, smallest, largest):
    low = draw_(st.floats(smallest, largest / 2))
    return {"low": low, "high": draw_(st.floats(low, largest, exclude_min=True)), "log": draw_(st.booleans())}


@st.composite
def spaces(draw_):
    losses = draw_(st.lists(st.sampled_from(["l1", "cross_entropy", "focal", "mse", "poly1"]), min_size=1, max_size=4, unique=True))
    choices = [*losses]
    if draw_(st.booleans()):
        choices.append({"name": draw_(names), "loss": "label_smoothing", "smoothing": draw_(numbers), "momentum": draw_(numbers)})
    parameters = {"loss": {"choices": choices}, "learning_rate": draw_(st.one_of(numbers, ranges(1e-6, 10.0)))}
    if "focal" in losses:
        parameters["gamma"] = {"choices": draw_(st.lists(numbers, min_size=1, max_size=3, unique=True)), "when": {"loss": "focal"}}
    if draw_(st.booleans()):
        low = draw_(st.integers(1, 5))
        parameters |= {"step_size": {"type": "int", "low": low, "high": low + 2 * draw_(st.integers(1, 3)), "step": 2}, "step_gamma": 0.5}
    return base(
        name=draw_(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)),
        training={"epochs": draw_(st.integers(1, 100)), "augment": draw_(st.booleans())},
        parameters=parameters,
        compare={"arms": "loss", "reference": {"source": draw_(st.text(max_size=20)), "test_accuracy": {}}},
        search={"metric": draw_(st.sampled_from(["val_accuracy", "val_nll"]))},
        resources={"gpus_per_trial": draw_(st.sampled_from(["auto", 0.5, 2, 0])), "pack": draw_(st.sampled_from([1, 4, "auto"]))},
        seed=draw_(st.integers(0, 2**32 - 1)),
    )


@given(data=spaces())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_space_survives_being_written_and_read(data):
    try:
        space = space_of(data)
    except SpaceError as error:  # an arm's name may be one that no file can have: said, not crashed
        assert str(error).count("\n") >= 1  # noqa: PT017
        return
    text = dump_space(space)
    again = parse_space(text, "dumped")
    assert again == space
    assert dump_space(again) == text
    assert again.arms == space.arms
    for arm in space.arms:
        assert again.definitions(arm) == space.definitions(arm)
    yaml.safe_load(text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_file_reads_back_and_draws_the_same(path):
    space = load_space(path)
    again = parse_space(dump_space(space), "dumped")
    assert again == space
    for arm in space.arms:
        drawn = []
        for one in (space, again):
            study = optuna.create_study(sampler=build_sampler(one, arm, 3), pruner=build_pruner(one))
            drawn.append([draw(one, arm, study.ask()) for _ in range(3)])
        assert drawn[0] == drawn[1]


def test_every_default_is_written_out():
    data = yaml.safe_load(dump_space(space_of(base(search={"sampler": "tpe", "pruner": "hyperband"}))))
    assert data == {
        "name": "base",
        "dataset": {"name": "synthetic", "validation": 1000, "train_images": 10_000, "test_images": 2_000},
        "training": {
            "model": "convnet", "epochs": 9, "reduction": "batch", "augment": "crop_flip", "batch_size": 128, "momentum": 0.9,
            "weight_decay": 0.0, "step_size": 1, "step_gamma": 1.0, "select": "last", "keep": "nothing",
        },
        "parameters": {
            "loss": {"choices": ["cross_entropy", "focal"]},
            "gamma": {"type": "float", "low": 0.0, "high": 5.0, "log": False, "when": {"loss": "focal"}},
            "learning_rate": {"type": "float", "low": 0.0001, "high": 1.0, "log": True},
        },
        "compare": {"searches": 1, "trials_per_arm": 32, "seeds": 8, "margin": 0.5},
        "search": {
            "metric": "val_accuracy",
            "sampler": {"name": "tpe", "n_startup_trials": 10, "n_ei_candidates": 24, "constant_liar": True},
            "pruner": {"name": "hyperband", "min_resource": 1, "max_resource": "auto", "reduction_factor": 3, "bootstrap_count": 0},
        },
        "resources": {"cpus_per_trial": 1.0, "gpus_per_trial": "auto", "pack": "auto", "backend": "auto", "max_failures": 2},
        "seed": 1,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["1e-4", "0o17", "012", "yes", "null", "~", "1:30", "2020-01-01", ".inf", "a: b", "# x", "=", "<<", "'"])
def test_text_that_looks_like_something_else_stays_text(text):
    overrides = [as_override("dataset.name", "parquet"), as_override("dataset.data_dir", text)]
    written = dump_space(parse_space(yaml.safe_dump(base()), "test.yaml", overrides))
    assert parse_space(written, "dumped").dataset.data_dir == text
    assert yaml.safe_load(written)["dataset"]["data_dir"] == text, "a reader of YAML 1.1 sees text, too"
