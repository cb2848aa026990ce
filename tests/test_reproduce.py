"""A trial trained again, compared with its curve as stored."""

import json
import shutil
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sweeper.records import EPOCH_COLUMNS
from sweeper.reproduce import ReproduceError, _compare, reproduce_trial, reproduction_text
from sweeper.store import SweepFolder
from sweeper.view.trial import view_trial


@pytest.fixture
def altered(finished_sweep, tmp_path):
    """A copy of the finished sweep to be tampered with."""
    return shutil.copytree(finished_sweep.path, tmp_path / finished_sweep.id)


def change_provenance(folder, change):
    path = folder / "provenance.json"
    provenance = json.loads(path.read_text())
    change(provenance)
    path.write_text(json.dumps(provenance))


def test_every_figure_of_every_epoch_comes_out_equal_to_the_last_bit(finished_sweep):
    found = reproduce_trial(SweepFolder(str(finished_sweep.path)), "focal-confirm-0")
    assert (found.verdict, found.epochs, found.device, found.first_epoch, found.largest) == ("equal", 3, "cpu", None, {})
    assert reproduction_text(found).startswith("focal-confirm-0: equal to the last bit over 3 epochs on cpu")


def test_kernels_for_a_gpu_keep_no_trial_from_being_repeated_on_a_cpu(altered):
    space = altered / "sweep.yaml"
    text = space.read_text()
    assert "backend: auto" in text
    space.write_text(text.replace("backend: auto", "backend: fused"))
    assert reproduce_trial(SweepFolder(str(altered)), "focal-confirm-0").verdict == "equal"


def test_figures_that_an_earlier_version_did_not_store_are_not_compared(altered):
    (path,) = (altered / "epochs").glob("*.parquet")
    stored = pq.read_table(path)
    pq.write_table(stored.drop_columns([column.name for column in EPOCH_COLUMNS if column.is_later]), path)
    found = reproduce_trial(SweepFolder(str(altered)), "focal-confirm-0")
    assert (found.verdict, found.first_epoch) == ("equal", None)


def test_one_bit_in_a_curve_is_found_and_told(altered):
    (path,) = (altered / "epochs").glob("*.parquet")
    stored = pq.read_table(path)
    frame = stored.to_pandas()
    frame.loc[(frame["trial"] == "focal-confirm-0") & (frame["epoch"] == 2), "val_nll"] *= 1 + 1e-15
    pq.write_table(
        pa.Table.from_pandas(frame, schema=stored.schema, preserve_index=False).replace_schema_metadata(stored.schema.metadata), path
    )
    found = reproduce_trial(SweepFolder(str(altered)), "focal-confirm-0")
    assert (found.verdict, found.same, found.first_epoch, list(found.largest)) == ("different", False, 2, ["val_nll"])
    text = reproduction_text(found)
    assert text.startswith("focal-confirm-0: different from epoch 2 on (3 epochs on cpu)\n\nlargest differences\n  val_nll  ")


def test_weights_are_kept_of_a_trial_whose_curve_is_the_same_and_of_no_other(altered):
    folder = SweepFolder(str(altered))
    reproduce_trial(folder, "focal-confirm-0")
    assert not folder.has_weights("focal-confirm-0")
    assert reproduce_trial(folder, "focal-confirm-0", keep_weights=True).same
    assert folder.read_weights("focal-confirm-0").tensors["fc2.bias"].shape == (10,)
    (path,) = (altered / "epochs").glob("*.parquet")
    stored = pq.read_table(path)
    position = stored.schema.get_field_index("val_nll")
    pq.write_table(stored.set_column(position, "val_nll", pc.add(stored["val_nll"], 1.0)).cast(stored.schema), path)
    assert not reproduce_trial(folder, "focal-0", keep_weights=True).same
    assert not folder.has_weights("focal-0")


def test_what_has_changed_since_is_named(altered):
    change_provenance(altered, lambda provenance: provenance["packages"].update(torch="2.0.0"))
    found = reproduce_trial(SweepFolder(str(altered)), "focal-confirm-0")
    assert found.verdict == "equal"
    assert found.changed["torch"][0] == "2.0.0"
    assert "  torch " in reproduction_text(found)


def test_other_images_are_refused(altered):
    change_provenance(altered, lambda provenance: provenance["dataset"].update(fingerprint="0" * 64))
    with pytest.raises(ReproduceError, match=r"the data set has changed since the sweep \(fingerprint [0-9a-f]{12}, was 0{12}\)"):
        reproduce_trial(SweepFolder(str(altered)), "focal-0")


@pytest.mark.parametrize(
    ("change", "exact", "verdict"),
    [
        ({}, True, "equal"),
        ({"val_accuracy": 0.0101}, True, "different"),
        ({"val_accuracy": 0.0199}, False, "within_tolerance"),
        ({"val_accuracy": 0.0201}, False, "different"),
        ({"train_loss": 0.04}, False, "within_tolerance"),
        ({"train_loss": 0.06}, False, "different"),
        ({"train_loss": float("nan")}, False, "different"),
    ],
)
def test_a_gpu_may_differ_by_two_points_or_one_part_in_twenty(finished_sweep, change, exact, verdict):
    view = view_trial(SweepFolder(str(finished_sweep.path)), "focal-confirm-0")
    flat = tuple(replace(epoch, train_loss=1.0, val_accuracy=0.5) for epoch in view.curve)
    changed = [*flat[:-1], replace(flat[-1], **{name: getattr(flat[-1], name) + by for name, by in change.items()})]
    found = _compare(replace(view, curve=flat), changed, "cpu", exact=exact)
    assert found.verdict == verdict
    assert found.first_epoch == (None if not change else 3)
