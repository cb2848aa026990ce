"""Pages made from the code hold what the code says, all of it, and their examples are true."""

import re
import sys

import click
import pytest
from console import DOCS

sys.path.insert(0, str(DOCS))

import generate
from _pages import included, key_table

from sweeper.cli import cli
from sweeper.records import EPOCH_COLUMNS, PREDICTION_COLUMNS, TRIAL_COLUMNS

KEYS = key_table.all_keys()


def test_no_generated_page_is_stale():
    stale = sorted(generate.stale_pages())
    assert stale == [], "run: python docs/generate.py"


def test_every_key_of_the_schema_has_a_right_and_a_wrong_line():
    assert [key.name for key in KEYS][: len(key_table.schema_keys())] == key_table.schema_keys()
    assert {key.name for key in KEYS} >= {"dataset.mean", "parameters.*.when", "search.sampler.tpe.n_startup_trials", "seed"}


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_the_right_line_of_a_key_can_be_run_and_names_it(key):
    assert key_table.refusal(key.right) == ""
    assert key_table.example(key).startswith(f"{key.name.rpartition('.')[2]}: ")


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_the_wrong_line_of_a_key_is_refused_with_one_problem_on_its_page(key):
    refusal = key_table.refusal(key.wrong)
    assert refusal.startswith("mine.yaml: 1 problem\n  line ")
    assert f"```text\n{refusal}\n```" in (DOCS / "reference" / "mistakes.md").read_text()


def test_the_command_line_page_holds_every_command_and_flag():
    text = (DOCS / "reference" / "command-line.md").read_text()
    for name, command in cli.commands.items():
        context = click.Context(command, info_name=name)
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section, name
        for parameter in command.params:
            for flag in parameter.opts if parameter.param_type_name == "option" else parameter.get_usage_pieces(context):
                assert flag in section, (name, flag)


def test_the_parquet_page_holds_every_column():
    text = (DOCS / "reference" / "parquet.md").read_text()
    for column in (*TRIAL_COLUMNS, *EPOCH_COLUMNS, *PREDICTION_COLUMNS):
        assert f"| `{column.name}` | `{column.type}` |" in text


def test_a_part_is_written_anew_and_what_is_around_it_stays():
    page = "Before.\n\n<!-- generated: session 02-check -->\nstale\n<!-- end of generated text -->\n\nAfter.\n"
    screen = (DOCS / "session" / "02-check.txt").read_text()
    assert generate.with_parts(page, "docs/page.md") == page.replace("stale\n", f"\n```text\n{screen}```\n\n")


def test_links_of_included_text_lead_to_the_same_place_and_those_out_of_the_docs_become_text(tmp_path, monkeypatch):
    text = "[a](docs/a.md#b), ![plot](docs/images/c.png), [rules](CONTRIBUTING.md), [web](https://d.org)\n\n```text\n[e](docs/f.md)\n```\n"
    (tmp_path / "README.md").write_text(text)
    monkeypatch.setattr(included, "ROOT", tmp_path)
    assert included.file("README.md", "docs/reference/page.md") == (
        "[a](../a.md#b), ![plot](../images/c.png), rules (`CONTRIBUTING.md`), [web](https://d.org)\n\n```text\n[e](docs/f.md)\n```"
    )


def test_no_page_is_empty_on_a_code_host():
    for page in DOCS.rglob("*.md"):
        assert len(re.sub(r"<!--.*?-->", "", page.read_text(), flags=re.DOTALL).split()) > 100, page
