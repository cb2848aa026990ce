"""Sweeps from Python."""

import json
import subprocess
import sys

import optuna
import pandas as pd
import pytest

import sweeper
from sweeper.api import ArgumentError
from sweeper.errors import SpaceError, StoreError
from sweeper.look import LookError


def test_importing_sweeper_loads_nothing_heavy():
    code = "import sweeper, sys, json; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "ray", "optuna", "pandas", "numpy", "pydantic", "click", "rich"} & set(json.loads(done.stdout))


def test_the_names_of_the_package_are_those_it_documents():
    assert {"run", "open", "resume", "Sweep"} <= set(dir(sweeper))
    with pytest.raises(AttributeError, match="module 'sweeper' has no attribute 'runn'"):
        _ = sweeper.runn


def test_a_sweep_is_opened_by_its_folder_its_id_or_the_beginning_of_it(finished_sweep):
    for name in (finished_sweep.path, finished_sweep.id, "tiny"):
        assert sweeper.open(name, results=str(finished_sweep.results)).id == finished_sweep.id
    with pytest.raises(LookError, match=r"no sweep 'tinny' in .*; did you mean 'tiny-"):
        sweeper.open("tinny", results=str(finished_sweep.results))


def test_trials_and_epochs_are_the_files_as_pandas_reads_them(finished_sweep):
    sweep = sweeper.open(finished_sweep.path)
    trials, epochs = (pd.read_parquet(finished_sweep.path / table) for table in ("trials", "epochs"))
    pd.testing.assert_frame_equal(sweep.trials, trials, check_dtype=False)
    pd.testing.assert_frame_equal(sweep.epochs, epochs, check_dtype=False)
    assert len(sweep.trials) == 12
    assert sweep.n_failed == 0


def test_report_status_predictions_and_space_are_those_of_the_command_line(finished_sweep):
    sweep = sweeper.open(finished_sweep.path)
    assert sweep.report().rstrip("\n") == finished_sweep.stdout.rstrip("\n")
    assert json.loads(sweep.report("json"))["sweeps"][0]["sweep"] == sweep.id
    assert sweep.status().state == "finished"
    assert sweep.space.compare.trials_per_arm == 4
    assert set(sweep.predictions("focal")["trial"]) == {"focal-confirm-0", "focal-confirm-1"}
    assert repr(sweep) == f"sweeper.open('{finished_sweep.path}')"


def test_optuna_reads_every_study_and_makes_its_table(finished_sweep):
    sweep = sweeper.open(finished_sweep.path)
    trials = sweep.trials.set_index("trial")
    for arm, phase, prefix in (("focal", "search", "focal"), ("cross_entropy", "confirm", "cross_entropy-confirm")):
        table = sweep.study(arm, phase).trials_dataframe()
        for row in table.to_dict("records"):
            ours = trials.loc[f"{prefix}-{row['number']}"]
            assert row["params_learning_rate"] == ours["param_learning_rate"]
            assert row["state"].lower() == ours["state"]
            if row["state"] == "COMPLETE":
                assert row["value"] == ours["value"]


def test_plain_optuna_opens_the_journal_too(finished_sweep):
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(finished_sweep.path / "studies.journal")))
    study = optuna.load_study(study_name="focal", storage=storage)
    assert list(study.trials_dataframe()["number"]) == [0, 1, 2, 3]


def test_a_study_is_read_only_and_the_journal_stays_as_it_is(finished_sweep):
    journal = finished_sweep.path / "studies.journal"
    before = journal.read_bytes()
    study = sweeper.open(finished_sweep.path).study("focal")
    with pytest.raises(StoreError, match="read-only"):
        study.ask()
    with pytest.raises(StoreError, match="no study 'focl'; did you mean 'focal'"):
        sweeper.open(finished_sweep.path).study("focl")
    assert journal.read_bytes() == before


def test_a_keyword_that_run_does_not_know_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ArgumentError, match=r"run\(\) has no keyword 'epoch'; did you mean 'epochs'\?"):
        sweeper.run({}, epoch=3, results=str(tmp_path / "results"))


def test_keywords_and_settings_are_checked_like_the_file_and_nothing_is_created(finished_sweep, tmp_path):
    results = tmp_path / "results"
    with pytest.raises(SpaceError) as raised:
        sweeper.run(finished_sweep.space, epochs=0, settings={"search.metric": "val_acuracy"}, results=str(results))
    assert "--set training.epochs=0: must be >= 1, got 0" in str(raised.value)
    assert "did you mean 'val_accuracy'?" in str(raised.value)
    assert not results.exists()
