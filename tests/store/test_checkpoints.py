"""A trial is found again in whichever pack's file holds most of it, and files go when no trial needs them."""

import dataclasses
import json
import os
from collections import Counter

import numpy as np
import pytest

from sweeper.errors import StoreError
from sweeper.metrics import METRICS
from sweeper.records import EpochMetrics, Phase, TrialConfig
from sweeper.store import Checkpoint, Folder, PackCheckpoint, SweepFolder

SHAPES = {"conv.weight": (2, 3), "conv.bias": (2,)}


@pytest.fixture
def sweep(tmp_path):
    folder = SweepFolder(str(tmp_path / "s"))
    folder.create()
    return folder


def trial(number, arm="focal", **parameters):
    return TrialConfig(arm, Phase.SEARCH, number, 1, {"learning_rate": 0.1, **parameters})


def history(n_epochs):
    return tuple(EpochMetrics(epoch, 0.1 + epoch, 0.2, float("nan"), 0.4, 0.5, 0.6, 0.7, 1 / 3, 0.9) for epoch in range(1, n_epochs + 1))


def pack_of(*members):
    """A checkpoint of members given as (configuration, epochs); each weight tells its trial, its epoch and its place."""
    rows = np.array([[100 * config.number + 10 * n_epochs + place for place in range(8)] for config, n_epochs in members], np.float32)
    kinds = {"weights": rows, "velocity": -rows}
    histories = [history(n_epochs) for _, n_epochs in members]
    return PackCheckpoint(dict.fromkeys(kinds, SHAPES), kinds, [config for config, _ in members], histories)


def alone(config, n_epochs):
    """What earlier versions wrote: a file of one trial."""
    arrays = {"epochs": np.asarray(n_epochs), "weights/conv.bias": np.full(2, 7, np.float32)}
    return Checkpoint(arrays, history(n_epochs), config)


def epochs_found(sweep, *configs):
    """Epochs of the checkpoint of each trial, read by a process that has read nothing before; ``None`` without a checkpoint."""
    found = SweepFolder(str(sweep)).checkpoints.read(configs)
    return [len(found[config.trial_id].history) if config.trial_id in found else None for config in configs]


def names(sweep):
    return sorted(sweep.folder.names("checkpoints"))


def rewind(sweep, name, seconds):
    """Make a file look so many seconds older."""
    path = sweep.local_folder / "checkpoints" / name
    os.utime(path, (path.stat().st_atime - seconds, path.stat().st_mtime - seconds))


def test_a_member_gets_back_its_own_row_named_and_shaped_and_its_history(sweep):
    sweep.checkpoints.write_pack("p", pack_of((trial(1), 2), (trial(2), 0), (trial(3), 1)))
    found = sweep.checkpoints.read([trial(3), trial(1), trial(2), trial(4)])
    assert set(found) == {"focal-1", "focal-2", "focal-3"}
    for number, n_epochs in ((1, 2), (2, 0), (3, 1)):
        checkpoint, first = found[f"focal-{number}"], 100 * number + 10 * n_epochs
        assert repr(checkpoint.history) == repr(history(n_epochs))  # a figure that is not a number equals none
        assert all(type(epoch.epoch) is int for epoch in checkpoint.history)
        assert checkpoint.arrays["epochs"] == n_epochs
        np.testing.assert_array_equal(checkpoint.arrays["weights/conv.weight"], first + np.arange(6, dtype=np.float32).reshape(2, 3))
        np.testing.assert_array_equal(checkpoint.arrays["velocity/conv.bias"], [-first - 6, -first - 7])
        assert checkpoint.arrays["weights/conv.bias"].dtype == np.float32


def test_a_pack_of_an_earlier_version_that_had_fewer_metrics_is_read(sweep):
    sweep.checkpoints.write_pack("p", pack_of((trial(1), 2)))
    path = sweep.local_folder / "checkpoints" / "p.pack.npz"
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(bytes(arrays["__meta__"]))
    later = {metric.val_column for metric in METRICS.values() if metric.is_later}
    kept = [place for place, name in enumerate(meta["columns"]) if name not in later]
    assert len(kept) == len(meta["columns"]) - len(later)
    meta["columns"] = [meta["columns"][place] for place in kept]
    arrays |= {"history": arrays["history"][:, kept], "__meta__": np.frombuffer(json.dumps(meta).encode(), np.uint8)}
    np.savez(path, **arrays)
    assert repr(sweep.checkpoints.read([trial(1)])["focal-1"].history) == repr(history(2))


@pytest.mark.parametrize("newest", ["a", "b"])
def test_of_several_packs_that_hold_a_trial_the_one_with_most_epochs_counts(sweep, newest):
    sweep.checkpoints.write_pack("a", pack_of((trial(1), 5), (trial(2), 2)))
    sweep.checkpoints.write_pack("b", pack_of((trial(2), 3), (trial(1), 4)))
    rewind(sweep, f"{'b' if newest == 'a' else 'a'}.pack.npz", 60)
    assert epochs_found(sweep, trial(1), trial(2)) == [5, 3]


def test_an_earlier_versions_file_is_read_and_superseded_by_a_pack(sweep):
    sweep.checkpoints.write(alone(trial(1), 3))
    sweep.checkpoints.write(alone(trial(2), 3))
    sweep.checkpoints.write_pack("p", pack_of((trial(1), 4), (trial(2), 2)))
    found = sweep.checkpoints.read([trial(1), trial(2)])
    assert {name: len(checkpoint.history) for name, checkpoint in found.items()} == {"focal-1": 4, "focal-2": 3}
    np.testing.assert_array_equal(found["focal-2"].arrays["weights/conv.bias"], [7, 7])


def test_a_pack_of_an_earlier_version_is_read(sweep):
    sweep.checkpoints.write_pack("p", pack_of((trial(1), 2), (trial(3), 1)))
    path = sweep.local_folder / "checkpoints" / "p.pack.npz"
    with np.load(path) as arrays:
        content = dict(arrays)
    meta = json.loads(bytes(content["__meta__"]))
    meta["shapes"] = meta.pop("kinds")["weights"]
    content["__meta__"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    np.savez(path, **content)
    found = sweep.checkpoints.read([trial(1), trial(3)])
    assert {name: len(checkpoint.history) for name, checkpoint in found.items()} == {"focal-1": 2, "focal-3": 1}
    np.testing.assert_array_equal(found["focal-3"].arrays["velocity/conv.bias"], [-316, -317])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_torn_file_leaves_what_an_older_file_holds(sweep, share):
    sweep.checkpoints.write_pack("old", pack_of((trial(1), 2)))
    rewind(sweep, "old.pack.npz", 60)
    sweep.checkpoints.write_pack("new", pack_of((trial(1), 3), (trial(2), 3)))
    path = sweep.local_folder / "checkpoints" / "new.pack.npz"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert epochs_found(sweep, trial(1), trial(2)) == [2, None]


def test_damaged_weights_behind_a_whole_index_are_no_checkpoint(sweep):
    sweep.checkpoints.write_pack("old", pack_of((trial(1), 2)))
    rewind(sweep, "old.pack.npz", 60)
    pack = pack_of((trial(1), 3))
    sweep.checkpoints.write_pack("new", pack)
    path = sweep.local_folder / "checkpoints" / "new.pack.npz"
    content = path.read_bytes()
    assert content.count(pack.rows["weights"].tobytes()) == 1
    weights = pack.rows["weights"]
    path.write_bytes(content.replace(weights.tobytes(), (weights + 1).tobytes()))
    assert epochs_found(sweep, trial(1)) == [2]


@pytest.mark.parametrize("shapes", [{}, {"conv.weight": (2, 3)}, {"conv.weight": (2, 3), "conv.bias": (3,)}])
def test_rows_that_are_not_of_their_shapes_are_no_checkpoint(sweep, shapes):
    sweep.checkpoints.write_pack("p", dataclasses.replace(pack_of((trial(1), 3)), shapes=shapes))
    assert epochs_found(sweep, trial(1)) == [None]


def test_another_configuration_of_a_trial_is_passed_over_for_its_own(sweep):
    sweep.checkpoints.write_pack("a", pack_of((trial(1, learning_rate=0.2), 9)))
    sweep.checkpoints.write_pack("b", pack_of((trial(1), 1)))
    rewind(sweep, "b.pack.npz", 60)
    assert epochs_found(sweep, trial(1)) == [1]
    assert epochs_found(sweep, trial(1, learning_rate=0.2)) == [9]
    assert epochs_found(sweep, trial(1, learning_rate=0.3)) == [None]


def test_a_resume_opens_each_file_once_for_its_index_and_those_with_wanted_trials_once_more(sweep, monkeypatch):
    for pack in range(6):
        sweep.checkpoints.write_pack(f"p{pack}", pack_of(*((trial(8 * pack + row), 2) for row in range(8))))
    for number in range(100, 120):
        sweep.checkpoints.write(alone(trial(number), 1))
    opened = Counter()
    read_from = Folder.read_from
    monkeypatch.setattr(Folder, "read_from", lambda folder, name, read: opened.update([name]) or read_from(folder, name, read))
    sweep.checkpoints.read([trial(number) for number in range(16)])
    assert sum(opened.values()) == 6 + 2
    sweep.checkpoints.read([trial(100), trial(200)])
    assert sum(opened.values()) == 6 + 2 + 2
    sweep.checkpoints.write_pack("p5", pack_of((trial(200), 3)))
    assert sweep.checkpoints.read([trial(200)])
    assert sum(opened.values()) == 6 + 2 + 2 + 2


def test_a_file_is_deleted_when_all_its_trials_have_ended_and_its_pack_is_over(sweep):
    sweep.checkpoints.write_pack("dead", pack_of((trial(1), 2), (trial(2), 2)))
    sweep.checkpoints.write_pack("live", pack_of((trial(2), 3), (trial(3), 3)))
    sweep.checkpoints.write(alone(trial(1), 1))
    sweep.checkpoints.write(alone(trial(3), 1))
    everything = ["dead.pack.npz", "focal-1.npz", "focal-3.npz", "live.pack.npz"]
    sweep.delete_ended_checkpoints([], ["live"])
    assert names(sweep) == everything
    sweep.delete_ended_checkpoints(["focal-1"], ["live"])
    assert names(sweep) == ["dead.pack.npz", "focal-3.npz", "live.pack.npz"]
    sweep.delete_ended_checkpoints(["focal-1", "focal-2", "focal-3"], ["live"])
    assert names(sweep) == ["live.pack.npz"]
    sweep.delete_ended_checkpoints(["focal-1", "focal-2", "focal-3"], [])
    assert names(sweep) == []


def test_half_written_and_foreign_files_are_left_to_their_writers_and_torn_ones_go(sweep):
    for name in (".p.pack.npz.1.00000000.tmp", "notes.txt", "torn.pack.npz"):
        sweep.folder.write(f"checkpoints/{name}", b"PK")
    sweep.delete_ended_checkpoints([], [])
    assert names(sweep) == [".p.pack.npz.1.00000000.tmp", "notes.txt"]


def test_a_file_that_goes_while_it_is_looked_for_is_none(sweep, monkeypatch):
    sweep.checkpoints.write_pack("p", pack_of((trial(1), 2)))
    times = Folder.times

    def listed_and_deleted(folder, name):
        found = times(folder, name)
        folder.delete("checkpoints/p.pack.npz")
        return found

    monkeypatch.setattr(Folder, "times", listed_and_deleted)
    assert sweep.checkpoints.read([trial(1)]) == {}


def test_a_file_that_is_there_and_cannot_be_read_is_an_error_and_not_none(sweep, monkeypatch):
    sweep.checkpoints.write_pack("p", pack_of((trial(1), 2)))

    def refuse(folder, name, read):
        raise StoreError(f"{name}: Input/output error")

    monkeypatch.setattr(Folder, "read_from", refuse)
    with pytest.raises(StoreError, match=r"checkpoints/p\.pack\.npz: Input/output error"):
        sweep.checkpoints.read([trial(1)])
