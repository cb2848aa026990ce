# ruff: noqa: E501  lists
"""Whatever a file holds, it is a space or a SpaceError that says why not."""

import copy
import random
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sweeper.errors import SpaceError
from sweeper.space import check_warnings, dump_space, load_space, parse_space, parse_stored_space

FILES = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))
TEXTS = [path.read_text() for path in FILES]
ODDITIES = [
    None, True, False, 0, 1, -1, 10**30, -(10**400), 0.5, float("inf"), float("nan"), 1e308, -1e308, 5e-324, "", "x", "l1", "focal", "auto", "\x00",
    "../..", "a:b", "os:system", "none", [], [[]], [None], {}, {"name": None}, {"low": 0, "high": 1}, {"low": -1e308, "high": 1e308},
    {"type": "int", "low": -(10**30), "high": 10**30}, {"choices": [1, "1", True]}, {"choices": [{}]}, {"choices": [{"name": "a", "loss": "l1"}]},
    {"when": {"loss": "l1"}}, {"value": [], "when": []}, {"name": "patient", "wrapped": {"name": "patient"}}, ["l1"], {"": ""}, "focal" * 1000,
]  # fmt: skip


def is_fit_for_a_terminal(error):
    return len(error.problems) > 0 and all(line.isprintable() for line in str(error).splitlines())


def check(text, overrides=()):
    try:
        space = parse_space(text, "fuzz.yaml", overrides, allow_custom_code=False)
    except SpaceError as refusal:
        error = refusal
    else:
        check_warnings(space)
        assert parse_space(dump_space(space), "dumped", allow_custom_code=False) == space
        assert parse_stored_space(dump_space(space), "dumped") == space
        return
    assert is_fit_for_a_terminal(error), str(error)


@given(text=st.text())
@example("\ufeff")
@example("{" * 3000)
@example("a: !!binary aGk=")
@example("? ? ? x")
@example("%YAML 9.9\n---\na: 1")
@example("%TAG ! tag:x,2000:\n--- !y\na: 1")
@example("&a [*a]")
@example("a: !!timestamp 2001-12-14")
@example('"\\xZZ"')
@example("- - - -\t-")
@settings(max_examples=100, deadline=None)
def test_any_text_is_a_space_or_a_refusal(text):
    check(text)


def places(data, path=()):
    yield path
    if isinstance(data, dict | list):
        for key in data if isinstance(data, dict) else range(len(data)):
            yield from places(data[key], (*path, key))


def mutate(data, rng):
    """Replace, remove, rename or add something somewhere."""
    path = rng.choice([path for path in places(data) if path])
    holder = data
    for part in path[:-1]:
        holder = holder[part]
    action = rng.randrange(4)
    if action == 0:
        holder[path[-1]] = copy.deepcopy(rng.choice(ODDITIES))
    elif action == 1:
        del holder[path[-1]]
    elif isinstance(holder, dict):
        name = rng.choice(["gamma", "loss", "name", "low", "when", "", "epochs", "smoothing", "\x1b[31m", "x" * 100])
        holder[name] = holder.pop(path[-1]) if action == 2 else copy.deepcopy(rng.choice(ODDITIES))
    else:
        holder.insert(rng.randrange(len(holder) + 1), copy.deepcopy(rng.choice(ODDITIES)))


@given(seed=st.integers(0, 2**32))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_mutation_of_a_valid_file_is_a_space_or_a_refusal(seed):
    rng = random.Random(seed)
    data = yaml.safe_load(rng.choice(TEXTS))
    for _ in range(rng.randint(1, 4)):
        if data:
            mutate(data, rng)
    check(yaml.safe_dump(data, sort_keys=False))


@given(seed=st.integers(0, 2**32))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_mutation_of_a_stored_space_is_a_space_or_a_refusal(seed):
    rng = random.Random(seed)
    data = yaml.safe_load(dump_space(load_space(rng.choice(FILES))))
    mutate(data, rng)
    if data.get("search") and isinstance(data["search"], dict):
        mutate(data["search"], rng)
    try:
        parse_stored_space(yaml.safe_dump(data, sort_keys=False), "sweep.yaml")
    except SpaceError as refusal:
        error = refusal
    else:
        return
    assert is_fit_for_a_terminal(error), str(error)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_any_file_with_bytes_torn_out_is_a_space_or_a_refusal(seed, tmp_path_factory):
    rng = random.Random(seed)
    content = bytearray(rng.choice(TEXTS).encode())
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(content))
        content[at : at + rng.randrange(8)] = rng.randbytes(rng.randrange(4))
    path = tmp_path_factory.getbasetemp() / "torn.yaml"
    path.write_bytes(content)
    try:
        load_space(path, allow_custom_code=False)
    except SpaceError as refusal:
        error = refusal
    else:
        return
    assert is_fit_for_a_terminal(error), str(error)


keys = st.sampled_from(
    ["seed", "training.epochs", "parameters.loss", "parameters.gamma.when", "search", "search.pruner.name", "dataset", "x.y", "..", ""]
)


@given(overrides=st.lists(st.one_of(st.text(), st.tuples(keys, st.text(max_size=20)).map("=".join)), max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_flags_give_a_space_or_a_refusal(overrides):
    check(TEXTS[0], overrides)


def put_everywhere(oddity, every, first=0):
    """Put a value into every n-th place of two files, one place at a time, from the first one named."""
    for text in TEXTS[:2]:
        for path in [path for path in places(yaml.safe_load(text)) if path][first::every]:
            data = yaml.safe_load(text)
            holder = data
            for part in path[:-1]:
                holder = holder[part]
            holder[path[-1]] = oddity
            check(yaml.safe_dump(data, sort_keys=False))


@pytest.mark.parametrize("number", range(len(ODDITIES)), ids=lambda number: repr(ODDITIES[number])[:30])
def test_an_odd_value_in_a_fifth_of_all_places_is_a_space_or_a_refusal(number):
    put_everywhere(ODDITIES[number], every=5, first=number % 5)


@pytest.mark.slow
@pytest.mark.parametrize("oddity", ODDITIES, ids=lambda value: repr(value)[:30])
def test_an_odd_value_in_any_place_is_a_space_or_a_refusal(oddity):
    put_everywhere(oddity, every=1)
