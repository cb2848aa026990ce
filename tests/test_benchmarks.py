"""What the benchmarks compute: a measure that is wrong is worse than none."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision.transforms as T
import torchvision.transforms.functional as TF
from PIL import Image
from scipy import stats

from benchmarks import accuracy
from benchmarks.__main__ import Measured, Row, idle_table, training_table
from benchmarks.ceiling import operations
from benchmarks.processes import memory_bytes, timed


def test_the_plain_loop_sees_the_pixels_that_torchvision_makes():
    images = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8)
    framed = torch.nn.functional.pad(images.permute(0, 3, 1, 2), (4, 4, 4, 4)).flatten(2)
    torch.manual_seed(3)
    ours = accuracy.normalised(accuracy.augmented(framed, torch.arange(5)))
    torch.manual_seed(3)
    rows, columns, flips = torch.randint(0, 9, (5, 1)), torch.randint(0, 9, (5, 1)), torch.rand(5, 1) < 0.5
    assert len(set(flips.flatten().tolist())) == 2
    normalise = T.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    for index, image in enumerate(images):
        cropped = TF.crop(TF.pad(Image.fromarray(image.numpy()), 4), int(rows[index]), int(columns[index]), 32, 32)
        theirs = normalise(TF.to_tensor(TF.hflip(cropped) if flips[index] else cropped))
        assert torch.equal(ours[index], theirs)


def test_the_paired_difference_and_its_test_are_scipys():
    rng = np.random.default_rng(1)
    first, second = rng.normal(55, 1, 12), rng.normal(55, 1, 12)
    mean, error, freedom = accuracy.paired(first - second)
    theirs = stats.ttest_rel(first, second)
    assert mean / error == pytest.approx(theirs.statistic)
    low, high = theirs.confidence_interval(0.95)
    p = max(
        stats.ttest_rel(first + accuracy.MARGIN, second, alternative="greater").pvalue,
        stats.ttest_rel(first - accuracy.MARGIN, second, alternative="less").pvalue,
    )
    assert accuracy.difference("x", mean, error, freedom) == f"| x | {mean:+.2f} | [{low:+.2f}, {high:+.2f}] | {p:.2g} |"


def test_the_unpaired_difference_is_welchs():
    rng = np.random.default_rng(2)
    first, second = rng.normal(55, 1, 9), rng.normal(54, 3, 9)
    mean, error, freedom = accuracy.unpaired(first, second)
    theirs = stats.ttest_ind(first, second, equal_var=False)
    assert (mean / error, freedom) == (pytest.approx(theirs.statistic), pytest.approx(theirs.df))


def test_an_accuracy_run_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    runs = [
        {"side": side, "seed": seed, "learning_rate": 0.1, "accuracy": 0.5 + seed / step}
        for seed in (1, 2)
        for side, step in (("ours", 100), ("plain", 50))
    ]
    path = tmp_path / "runs.jsonl"
    accuracy.write(path, [*runs[:-1], {**runs[-1], "learning_rate": 0.2}])
    monkeypatch.setattr(accuracy, "plain", lambda dataset, seed, learning_rate: 0.5 + seed / 50)
    monkeypatch.setattr(accuracy, "ours", None)  # all of its seeds are there
    monkeypatch.setattr(accuracy, "load_dataset", lambda *source: None)
    monkeypatch.setattr(sys, "argv", ["accuracy", "--seeds", "2", "--file", str(path)])
    accuracy.main()
    last = accuracy.read(path)[-1]
    assert {name: last[name] for name in runs[-1]} == runs[-1]
    assert "| ours | 2 | 51.50 | 0.71 |" in capsys.readouterr().out


def test_a_trial_epoch_holds_the_operations_of_the_convnet():
    conv1, conv2, linear = 2 * 30 * 30 * 4 * 27, 2 * 13 * 13 * 8 * 36, 2 * (288 * 32 + 32 * 10)
    forward = conv1 + conv2 + linear
    backward = conv1 + 2 * conv2 + 2 * linear  # nobody asks for the gradient of the images
    assert operations(10, 3) == 10 * (forward + backward) + 3 * forward


def test_a_command_is_timed_with_the_memory_of_its_children(tmp_path, monkeypatch):
    (tmp_path / "hungry.py").write_text(
        "import subprocess, sys\n"
        "child = 'import time; x = b\"1\" * 200_000_000; time.sleep(1.5)'\n"
        "subprocess.run([sys.executable, '-c', child], check=True)\n"
        "print('fed')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = timed(["hungry"])
    assert done.output == "fed\n"
    assert done.seconds > 1.5
    if sys.platform == "linux":
        assert 200_000_000 < done.peak_memory_bytes < 400_000_000


def test_a_command_that_fails_says_what_it_said():
    with pytest.raises(RuntimeError, match="No module named"):
        timed(["no_such_module"])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_is_gone_has_no_memory():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert memory_bytes(process.pid) == 0


def row(name, trials, *seconds):
    return Row(name, trials, lambda: None, [Measured(2 * second, second, 1_000_000) for second in seconds])


def test_ratios_are_those_of_the_medians_per_trial_epoch():
    rows = [row("notebook", 1, 10.0, 12.0, 11.0), row("stock_tune", 2, 40.0), row("sweep run --pack 1", 4, 4.0)]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in training_table(rows, 2, 10**9, 1e9)[2:]]
    assert [line[2] for line in cells] == ["5.500 (5.000 – 6.000)", "10.000 (10.000 – 10.000)", "0.500 (0.500 – 0.500)"]
    assert [line[3] for line in cells] == ["1.0", "0.6", "11.0"]
    assert [line[4] for line in cells] == ["1.8", "1.0", "20.0"]
    assert [line[6] for line in cells] == ["164", "90", "1800"]
    assert cells[2][8] == "200.0%"


def test_overhead_is_what_a_trial_more_costs():
    pairs = [(row("stock_tune", 2, 10.0), row("stock_tune", 8, 19.0)), (row("ours", 2, 5.0), row("ours", 98, 7.4))]
    lines = idle_table(pairs)
    assert [line.split("|")[4].strip() for line in lines[2:]] == ["3.000", "0.050"]
    assert [line.split("|")[5].strip() for line in lines[2:]] == ["1", "60"]
