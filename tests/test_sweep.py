"""Folders of new sweeps."""

import subprocess
import sys
import threading
from dataclasses import fields

import pytest

from sweeper.data import load_dataset
from sweeper.errors import StoreError
from sweeper.records import Phase, TestMetrics
from sweeper.store import SweepFolder
from sweeper.sweep import _new_folder


def test_sweeps_of_one_name_that_begin_in_one_second_get_a_folder_each(tmp_path):
    for number in range(5):
        results, made, together = tmp_path / str(number), [], threading.Barrier(12)

        def begin(results=results, made=made, together=together):
            together.wait()
            made.append(_new_folder("same", str(results)).id)

        threads = [threading.Thread(target=begin) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(made) == sorted(path.name for path in results.iterdir())
        assert len(made) == 12


def test_a_place_where_no_folder_can_be_made_is_told_and_not_taken_for_one_that_is_taken(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file, and no folder can be made in it"):
        _new_folder("same", str(tmp_path / "file"))


def test_every_complete_trial_is_measured_on_the_test_split_and_logits_are_stored_of_confirmed_ones_alone(finished_sweep):
    folder = SweepFolder(str(finished_sweep.path))
    trials = folder.read_trials().frame.set_index("trial")
    searched, confirmed = (trials[(trials["phase"] == str(phase)) & (trials["state"] == "complete")] for phase in Phase)
    assert len(searched)
    assert len(confirmed)
    read = [column.name for column in fields(TestMetrics) if column.name != "own"]  # what a loop alone gives
    assert trials.loc[[*searched.index, *confirmed.index], read].notna().all(axis=None)
    assert trials.drop(index=[*searched.index, *confirmed.index])[read].isna().all(axis=None)
    assert set(folder.read_predictions().frame["trial"]) == set(confirmed.index)


def test_the_mean_and_deviation_that_images_are_normalised_by_are_noted(finished_sweep):
    noted = SweepFolder(str(finished_sweep.path)).read_provenance()["dataset"]
    dataset = load_dataset("synthetic", train_images=noted["train_images"], test_images=noted["test_images"])
    assert noted["fingerprint"] == dataset.fingerprint
    assert (tuple(noted["mean"]), tuple(noted["std"])) == (dataset.mean, dataset.std)


def test_the_driver_of_a_sweep_loads_neither_pytorch_nor_numba():
    code = """
import sys
from sweeper.data import load_dataset
from sweeper.store import provenance
from sweeper.records import Architecture
from sweeper.sweep import describe_models
dataset = load_dataset("synthetic", train_images=100, test_images=20)
assert describe_models([Architecture("convnet")], dataset) == {"name": "convnet", "weights": 9986}
provenance._GPU_DRIVERS = ()  # as on a machine without a GPU
assert provenance.hardware()["gpus"] == []
print(*sorted({"torch", "numba"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False)
    assert (done.stderr, done.stdout) == ("", "\n"), "a second and a half of the start of each sweep, for nothing"
