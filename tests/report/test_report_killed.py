"""A sweep that was killed: rows that only its log holds are reported as if they stood in Parquet."""

import json

import pytest
from sweeps import searched

from sweeper.report import FORMATS, report, write_plots
from sweeper.view.sweeps import view_sweep


def confirmed(results):
    builder = searched(results)
    builder.confirm("cross_entropy", [0.570, 0.571, 0.575], learning_rate=0.0123456789)
    builder.confirm("focal", [0.580, 0.590, 0.584, 0.579], learning_rate=0.03, gamma=1)
    return builder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    results = tmp_path_factory.mktemp("whole")
    confirmed(results).done()
    return results


@pytest.mark.parametrize("in_parquet", [0.0, 0.5, 1.0])
def test_a_report_has_the_rows_of_the_log(whole, tmp_path, in_parquet):
    confirmed(tmp_path).killed(in_parquet)
    for format_ in FORMATS:
        assert report(str(tmp_path), format=format_) == report(str(whole), format=format_)
    assert report(str(tmp_path), by="gamma", metric="val_nll") == report(str(whole), by="gamma", metric="val_nll")


def test_pictures_have_the_rows_of_the_log(whole, tmp_path):
    confirmed(tmp_path / "results").killed(0.5)
    pictures = [
        {path.name: path.read_bytes() for path in write_plots(str(results), tmp_path / name) if path.suffix == ".svg"}
        for name, results in (("killed", tmp_path / "results"), ("whole", whole))
    ]
    assert pictures[0] == pictures[1]


def test_report_and_show_see_the_same_trials(tmp_path):
    folder = confirmed(tmp_path).killed(0.3)
    arms = json.loads(report(str(tmp_path), format="json"))["sweeps"][0]["arms"]
    assert {arm["arm"]: arm["confirm"]["ends"]["complete"] for arm in arms} == {arm.arm: arm.confirmed for arm in view_sweep(folder).arms}


def test_what_is_no_row_in_a_damaged_log_is_passed_over(whole, tmp_path):
    folder = confirmed(tmp_path).killed(0.5)
    rows = folder.row_log.read_text().splitlines()[:-1]
    trial = json.loads(rows[-1])
    damaged = ["no JSON", '{"kind":"trial"}', '{"kind":"trial","row":7}', '{"kind":"trial","row":{"sweep":[],"trial":{}}}', "[" * 100_000]
    damaged += [
        json.dumps(trial | {"row": trial["row"] | {"trial": f"x-{name}", name: value}}, separators=(",", ":"))
        for name, value in (("arm", 7), ("state", ["complete"]), ("phase", None))
    ]
    folder.row_log.write_text("\n".join([*rows, *(line for line in damaged)]) + "\n")
    expected = json.loads(report(str(whole), format="json"))["sweeps"][0]
    found = json.loads(report(str(tmp_path), format="json"))["sweeps"][0]
    assert found["comparison"] == expected["comparison"]
    assert found["arms"] == expected["arms"]
    assert "3 rows of trials/ have a phase, state or search that this sweeper does not know" in found["warnings"][0]
