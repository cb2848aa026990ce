import math

import pytest

from sweeper.space.yaml_lines import read_yaml

LIKELY = "is the line indented too deep, a space missing after the colon of the line before, or a text with ': ' not in quotes?"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        ("+.5", 0.5),
        ("5.", 5.0),
        ("1", 1),
        ("-0x1F", "-0x1F"),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("none", "none"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2020-01-01", "2020-01-01"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!float 1", 1.0),
        ("=", "="),
    ],
)
def test_a_plain_scalar_means_what_yaml_1_2_says(text, value):
    document = read_yaml(f"key: {text}")
    assert document.problems == []
    assert document.data["key"] == value
    assert type(document.data["key"]) is type(value)


def test_not_a_number_is_read_as_one():
    assert math.isnan(read_yaml("key: .nan").data["key"])


def test_every_key_and_list_entry_knows_its_line():
    document = read_yaml("\n# comment\na:\n  b: {c: 1,\n      d: 2}\n  e:\n    - 1\n    - {f: 2}\n")
    assert document.lines == {
        (): 3,
        ("a",): 3,
        ("a", "b"): 4,
        ("a", "b", "c"): 4,
        ("a", "b", "d"): 5,
        ("a", "e"): 6,
        ("a", "e", 0): 7,
        ("a", "e", 1): 8,
        ("a", "e", 1, "f"): 8,
    }


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\na: 2", 2, "duplicate key; it is on line 1 already"),
        ("a: 1\n? [b]\n: 2", 2, "a key must be text, not a list or a mapping"),
        ("a: !!set {b}", 1, "the tag 'tag:yaml.org,2002:set' is not allowed; write plain values"),
        ("a: !mine 3", 1, "the tag '!mine' is not allowed; write plain values"),
        ("a: !!int x", 1, "cannot be read as int: 'x'"),
        (f"a: {'9' * 5000}", 1, f"cannot be read as int: '{'9' * 59}…'"),
        ('a: "\\ud800"', 1, "cannot be read as str: '\\ud800'"),
        ("a: *b", 1, "is not valid YAML: found undefined alias 'b'"),
        ("a: &x 1\nb: [*x, *y]", 2, "is not valid YAML: found undefined alias 'y'"),
        ("a:\n\t- 1", 2, "is not valid YAML: a tab; indent with spaces"),
        ("a: b: c", 1, f"is not valid YAML: a colon too many; {LIKELY}"),
        ("a: 'x", 1, "is not valid YAML: found unexpected end of stream (while scanning a quoted scalar)"),
        ("a: 1\n\x01b: 2", 2, "is not valid YAML: character U+0001 is not allowed"),
        ('a: "\\UFFFFFFFF"', 1, "is not valid YAML: an escape names no Unicode character"),
        ("a: 1\n---\nb: 2", 2, "holds more than one YAML document; a space file is one"),
        ("a: {<<: {b: 1}}", 1, "merge keys are not supported; write the keys out"),
    ],
)
def test_what_cannot_be_read_is_refused_at_its_line(text, line, message):
    (problem,) = read_yaml(text).problems
    assert (problem.line, problem.message) == (line, message)


def test_an_alias_stands_for_its_anchor():
    assert read_yaml("a: &range {low: 0}\nb: *range").data == {"a": {"low": 0}, "b": {"low": 0}}


def test_aliases_that_would_multiply_beyond_measure_are_refused_quickly():
    lines = [f"{here}: &{here} [{', '.join([f'*{above}'] * 10)}]" for above, here in ["ab", "bc", "cd", "de", "ef"]]
    text = "\n".join(["a: &a [x, x, x, x, x, x, x, x, x, x]", *lines])
    (problem,) = read_yaml(text).problems
    assert problem.message == "holds more than 20,000 values once its aliases are written out"


def test_an_alias_within_its_own_anchor_is_refused():
    (problem,) = read_yaml("a: &a\n  b: [*a]").problems
    assert problem.message == "an alias that contains itself"


def test_nesting_that_would_exhaust_the_stack_is_refused():
    for text in ("[" * 5000, "{a: " * 5000, "- " * 5000):
        (problem,) = read_yaml(text).problems
        assert problem.message == "is not valid YAML: nested deeper than 32 levels"
