"""The space of a sweep that has begun is read without what was asked when it began."""

import subprocess
import sys

import pytest
import yaml
from spaces import base, space_of

from sweeper.errors import SpaceError
from sweeper.space import dump_space, parse_stored_space

PATIENT = {"name": "patient", "patience": 2, "wrapped": {"name": "hyperband", "min_resource": 1}}


def test_a_stored_space_is_the_space_that_was_written():
    for search in ({"sampler": {"name": "grid", "points": 3}}, {"sampler": "qmc", "pruner": PATIENT}):
        space = space_of(base(search=search))
        assert parse_stored_space(dump_space(space), "sweep.yaml") == space


def test_an_option_that_optuna_knows_no_more_is_kept_and_keeps_nobody_from_a_report():
    stored = parse_stored_space(yaml.safe_dump(base(search={"sampler": {"name": "gone", "depth": 2}, "pruner": PATIENT})), "sweep.yaml")
    assert (stored.search.sampler.name, stored.search.sampler.options) == ("gone", {"depth": 2})
    assert stored.search.pruner.wrapped.name == "hyperband"


@pytest.mark.parametrize("sampler", [None, 3, [], {}, {"name": {}}, {"name": "tpe", "depth": {}}, {"name": "tpe", "wrapped": []}])
def test_what_is_no_algorithm_at_all_is_refused(sampler):
    with pytest.raises(SpaceError, match=r"search\.sampler"):
        parse_stored_space(yaml.safe_dump(base(search={"sampler": sampler})), "sweep.yaml")


def test_reading_a_stored_space_imports_neither_optuna_nor_torch_nor_ray():
    code = (
        "import sys; from sweeper.space import parse_stored_space; parse_stored_space(sys.stdin.read(), 'sweep.yaml');"
        "print([name for name in ('optuna', 'torch', 'ray') if name in sys.modules])"
    )
    text = dump_space(space_of(base()))
    done = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["finished", "unfinished"])
def test_a_sweep_of_an_earlier_version_keeps_the_pack_that_was_its_default(earlier_sweep, name):
    assert parse_stored_space((earlier_sweep(name) / "sweep.yaml").read_text(), "sweep.yaml").resources.pack == 1
