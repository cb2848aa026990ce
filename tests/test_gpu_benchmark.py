"""`python -m benchmarks.gpu`: what it measures, and that it claims nothing it has not measured."""

import json
import subprocess
import sys
import time
import uuid

import pytest
import torch
from data.encoded_images import encode, write_parquet

from benchmarks.ceiling import operations
from benchmarks.gpu import tables
from benchmarks.gpu.__main__ import LEAST_SECONDS, RESULTS, main, outcome, write_summary
from benchmarks.gpu.run import FOCAL_LOSSES, Run, members
from benchmarks.gpu.steps import STEPS
from sweeper.catalogue import LOSSES
from sweeper.data import load_dataset
from sweeper.process.reaper import living_processes

HAS_CUDA = torch.cuda.is_available()


def records(folder):
    return [json.loads(line) for line in (folder / "measurements.jsonl").read_text().splitlines()]


def rehearse(folder, step, seconds=100.0):
    """A step in this process, on the CPU and with tiny sizes; its rows by table."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    threads = torch.get_num_threads()
    STEPS[step].measure(Run(step, str(folder), str(scratch), "", True, time.time() + seconds))
    torch.set_num_threads(threads)
    return {name: tables.rows_of(records(folder), name) for name in tables.TABLES}


@pytest.mark.skipif(HAS_CUDA, reason="a CUDA device is here")
def test_without_a_gpu_it_says_so_in_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["epochs", "--output", "here"]) == 2
    said = capsys.readouterr()
    assert said.err == "benchmarks.gpu: no CUDA device is here, so nothing is measured (`--rehearse` tries the steps on the CPU)\n"
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["", "gpu"])
def test_a_rehearsal_writes_nothing_among_the_results(below, capsys):
    before = set(RESULTS.rglob("*"))
    assert main(["machine", "--rehearse", "--output", str(RESULTS / below)]) == 2
    assert "a rehearsal measures nothing and writes nothing below results/; name another folder" in capsys.readouterr().err
    assert set(RESULTS.rglob("*")) == before


def test_the_measurements_of_another_run_are_not_overwritten(tmp_path, capsys):
    (tmp_path / "measurements.jsonl").write_text("{}\n")
    assert main(["machine", "--rehearse", "--output", str(tmp_path)]) == 2
    assert f"--output {tmp_path} holds the measurements of another run; name a new folder" in capsys.readouterr().err
    assert (tmp_path / "measurements.jsonl").read_text() == "{}\n"


def test_an_unknown_step_is_answered_with_all_names(tmp_path, capsys):
    assert main(["epoch", "--rehearse", "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"benchmarks.gpu: no such step: epoch; the steps are {', '.join(STEPS)}\n"


def test_every_step_has_a_table_and_is_described():
    from benchmarks.gpu import __main__ as command

    assert all(f"\n{name} " in command.__doc__ for name in STEPS)


def test_epochs_are_timed_for_each_backend_on_one_stream_and_on_own_streams(tmp_path):
    found = rehearse(tmp_path, "epochs")["epochs"]
    ways = {(row["backend"], row["k"], row["own_streams"]) for row in found}
    packed = {(backend, k, own) for backend in ("lanes", "operators") for k in (3,) for own in (False, True)}
    assert ways == packed | {("lanes", 1, False), ("operators", 1, False)}
    assert all(row["n"] == 3 and 0 < row["low"] <= row["median"] <= row["high"] for row in found)
    assert {row["operations"] for row in found} == {operations(540, 60)}


def test_what_there_is_no_time_for_is_left_out_and_named(tmp_path):
    found = rehearse(tmp_path, "epochs", seconds=1.0)["epochs"]
    assert {row["problem"] for row in found} == {"no time was left, here and above"}
    assert {(row["backend"], row["k"], row["own_streams"]) for row in found} == {
        (backend, *smallest) for backend in ("lanes", "operators") for smallest in ((1, False), (3, True))
    }


def test_a_step_that_is_cut_off_leaves_what_was_measured_and_no_process(tmp_path, monkeypatch):
    mark = uuid.uuid4().hex
    monkeypatch.setenv("BENCHMARK_OF_A_TEST", mark)
    (tmp_path / "measurements.jsonl").write_text(json.dumps(MEASURED[0]) + "\n")
    run = Run("stock_tune", str(tmp_path), str(tmp_path), "", True, time.time() + LEAST_SECONDS + 1)  # Ray alone needs longer
    assert outcome(run) == "cut off: its time was over"
    kept, ended = records(tmp_path)
    assert kept == MEASURED[0]
    assert (ended["table"], ended["row"]["name"]) == ("steps", "stock_tune")
    deadline = time.monotonic() + 30
    while left := list(living_processes(f"BENCHMARK_OF_A_TEST={mark}")):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def test_agreement_is_to_the_bit_where_the_arithmetic_is_the_same(tmp_path):
    found = rehearse(tmp_path, "agreement")["agreement"]
    assert [(row["backend"], row["loss"]) for row in found] == [(backend, loss) for backend in ("lanes", "operators") for loss in LOSSES]
    for row in found[: len(LOSSES)]:  # the CPU's own backend
        assert set(row["differences"].values()) == {0.0}
        assert (row["packed_is_alone"], row["repeats"]) == ("yes", "yes")
    for row in found[len(LOSSES) :]:  # operators, which add in another order
        assert 0.0 < max(row["differences"].values()) < 1e-4
        assert row["repeats"] == "yes"


def test_differences_are_absolute_for_shares_and_relative_for_losses():
    from benchmarks.gpu.agreement import differences
    from sweeper.records import EpochMetrics

    def epoch(loss, accuracy):
        return {"a": EpochMetrics(1, loss, accuracy, loss, accuracy, loss, loss, accuracy, 0.1, 0.0)}

    found = differences("a", [epoch(2.0, 0.5), epoch(4.0, 0.5)], [epoch(2.5, 0.5), epoch(4.0, 0.75)])
    assert found["train_loss"] == found["val_nll"] == 0.25
    assert found["val_accuracy"] == found["val_ece"] == 0.25
    assert set(found) == {"train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_nll", "val_brier", "val_ece"}


def test_every_table_of_a_rehearsal_says_what_it_is(tmp_path):
    rehearse(tmp_path, "machine")
    write_summary(tmp_path, rehearsal=True)
    lines = (tmp_path / "summary.md").read_text().splitlines()
    assert lines[0] == "# REHEARSAL on the CPU: these are not measurements of a GPU"
    assert [line for line in lines if line.startswith("## ")] == ["## REHEARSAL: Machine", "## REHEARSAL: Ceilings"]


def row(table, **figures):
    return {"step": table, "table": table, "row": figures}


def cells(text, heading):
    """The cells of a table of the summary, by column."""
    lines = text.split(f"## {heading}")[1].split("\n## ")[0].strip().splitlines()
    grid = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [dict(zip(grid[0], each, strict=True)) for each in grid[2:]]


MEASURED = [
    row("ceilings", name="fp32", what="matrix product", unit="TFLOP/s", scale=1e12, median=50e12, low=49e12, high=51e12, n=7),
    row("epochs", backend="fused", k=100, own_streams=False, operations=10**9, median=0.05, low=0.04, high=0.06, n=3, peak_bytes=2**30),
    row("epochs", backend="operators", k=100, own_streams=True, operations=10**9, problem="out of memory, here and above"),
    row("peers", name="notebook", side_by_side=1, workers=2, median=4.0, low=4.0, high=4.0, n=3),
    row("peers", name="notebook", side_by_side=1, workers=16, median=2.0, low=2.0, high=2.0, n=3),
    row("peers", name="stock_tune", side_by_side=1, workers=2, median=3.0, low=3.0, high=3.0, n=2),
    row("peers", name="stock_tune", side_by_side=8, workers=2, median=0.5, low=0.5, high=0.5, n=8),
    row(
        "sweeps", name="focal.yaml", seconds=60.0, trials=500, trial_epochs=3_000, first_epoch=10.0, warm_trial_epochs=2_900,
        warm_seconds=29.0, in_epochs=30.0, states={"search pruned": 400}, cut=True,
    ),
]  # fmt: skip


def test_shares_and_ratios_are_those_of_the_medians_of_the_same_run():
    text = tables.markdown(MEASURED, "# Measured")
    fused, grouped = cells(text, "Epochs")
    assert fused["s an epoch (range)"] == "0.05 (0.04 – 0.06)"
    assert fused["ms a trial-epoch"] == "0.5"
    assert fused["of the fp32 ceiling"] == "4.0%"  # 1e9 × 100 / 0.05 s of 50e12 a second
    assert fused["peak MiB"] == "1,024"
    assert [fused[name] for name in fused if "÷" in name] == [
        "4,000.0",
        "6,000.0",
        "1,000.0",
    ]  # the notebook with its better number of workers
    assert (grouped["s an epoch (range)"], grouped["streams"], grouped["of the fp32 ceiling"]) == (
        "out of memory, here and above",
        "own",
        "–",
    )
    (sweep,) = cells(text, "Sweeps")
    assert sweep["sweep"] == "focal.yaml (interrupted: no time was left)"
    assert (sweep["trials an hour"], sweep["trial-epochs a second, warm"], sweep["in epochs"]) == ("30,000", "100", "50%")
    assert [sweep[name] for name in sweep if "÷" in name] == ["100.0", "150.0", "25.0"]  # 20 ms a trial-epoch, from end to end


def test_accuracies_are_compared_after_the_last_epoch_that_all_seeds_reached():
    runs = [row("accuracy", side="cuda, fused", seed=seed, accuracies=[0.1, 0.5, 0.6 + seed / 100], images=50_000) for seed in (1, 2, 3)]
    runs += [row("accuracy", side="CPU", seed=seed, accuracies=[0.1, 0.5, 0.6, 0.7][: 2 + seed], images=50_000) for seed in (1, 2)]
    text = tables.markdown(runs, "# Measured")
    assert "cuda, fused: after 3 of the notebook's 30 epochs of 50,000 images" in text
    assert "| cuda, fused | 2 | 61.50 | 0.71 |" in text
    assert "| CPU | 2 | 60.00 | 0.00 |" in text


def test_members_on_own_streams_share_no_seed_and_take_the_losses_in_turn():
    assert len({member.seed for member in members(6, FOCAL_LOSSES, own_streams=True)}) == 6
    assert len({member.seed for member in members(6, FOCAL_LOSSES)}) == 1
    assert [member.parameters["loss"] for member in members(4, FOCAL_LOSSES)] == ["l1", "cross_entropy", "focal", "l1"]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_whole_command_can_be_rehearsed(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--rehearse", "--seconds", "1200", "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1400)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = {row["name"]: row["outcome"] for row in tables.rows_of(records(tmp_path / "out"), "steps")}
    assert outcomes == dict.fromkeys(STEPS, "done")
    text = (tmp_path / "out" / "summary.md").read_text()
    assert text.count("\n## REHEARSAL: ") == text.count("\n## ") == len(tables.TABLES)


@pytest.mark.gpu
@pytest.mark.timeout(300)
@pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
def test_ceilings_epochs_and_agreement_are_measured_on_the_gpu(tmp_path):
    images = load_dataset("synthetic", train_images=6_000, test_images=500)
    for split in ("train", "test"):
        pixels, labels = (getattr(images, f"{split}_{what}") for what in ("images", "labels"))
        write_parquet(tmp_path / f"{split}.parquet", [encode(image) for image in pixels], labels.tolist())
    steps = ["machine", "epochs", "agreement"]
    assert main([*steps, "--seconds", "200", "--data-dir", str(tmp_path), "--output", str(tmp_path / "out")]) == 0
    found = records(tmp_path / "out")
    assert [row["outcome"] for row in tables.rows_of(found, "steps")] == ["done"] * 3
    assert tables.rows_of(found, "ceilings", name="fp32")[0]["median"] > 1e12
    timed = [row for row in tables.rows_of(found, "epochs") if "median" in row]
    assert {row["k"] for row in timed} >= {1, 8, 16, 32}
    assert all(row["peak_bytes"] > 0 for row in timed)
    agreement = [row for row in tables.rows_of(found, "agreement") if "differences" in row]
    assert {row["loss"] for row in agreement} == set(LOSSES)
    assert all(row["differences"]["train_loss"] < 2e-3 for row in agreement)
