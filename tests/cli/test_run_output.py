"""What a run writes where: nothing but the report on stdout, a few lines on stderr, and no word of Ray's."""

import re
import sqlite3

from finished_sweep import sweep

LINES = [
    r"warning: compare\.(searches is 1|seeds is 2): .*",
    r"sweep tiny-\d+-\d+: 2 arms \(cross_entropy, focal\), \d+ packs? side by side, rows in .*",
    r"(reading the space file|looking at what it needs|loading libraries|reading the data set|starting Ray)( \(\d+ s\))?",
    r"starting the workers, and training the first epoch( \(\d+ s\))?",
    r"\d:\d\d:\d\d (search|confirm) \d/\d, .*",
    r"\d:\d\d:\d\d ended: 12 of 12 trials, .*",
    r"",
    r"Results: .*",
    r"Next:    sweep show .*",
]


def test_a_run_in_a_pipe_writes_only_lines_of_ours(finished_sweep):
    lines = finished_sweep.stderr.splitlines()
    strangers = [line for line in lines if not any(re.fullmatch(pattern, line) for pattern in LINES)]
    assert strangers == []
    assert len([line for line in lines if not line.endswith(" s)")]) <= 30
    assert sum(" ended: " in line for line in lines) == 1
    assert finished_sweep.exit_code == 0


def test_a_run_prints_its_report_and_nothing_else_on_stdout(finished_sweep):
    assert finished_sweep.stdout == sweep("report", finished_sweep.path).stdout
    assert "\x1b" not in finished_sweep.stdout + finished_sweep.stderr


def test_the_end_names_results_and_the_next_command(finished_sweep):
    assert finished_sweep.stderr.endswith(f"\nResults: {finished_sweep.path}\nNext:    sweep show {finished_sweep.path}\n")


def test_quiet_says_nothing_and_loggers_see_every_member_of_a_pack(finished_sweep, tmp_path):
    flags = ["--searches", 2, "--trials-per-arm", 1, "--epochs", 2, "--seeds", 0, "--pack", 2, "--set", "search.pruner=none"]
    done = sweep("run", finished_sweep.space, *flags, "--results", tmp_path, "--quiet", "--log-to", "tensorboard", "--log-to", "mlflow")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    trials = {"cross_entropy-0", "cross_entropy-s2-0", "focal-0", "focal-s2-0"}
    assert {path.name for path in (folder / "tensorboard").iterdir()} == trials
    for trial in trials:
        assert scalars(folder / "tensorboard" / trial)["ray/tune/val_accuracy"].keys() == {1, 2}
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        runs = dict(database.execute("select run_uuid, name from runs where status = 'FINISHED'"))
        assert set(runs.values()) == trials
        logged = database.execute("select run_uuid, step from metrics where key = 'val_accuracy' order by run_uuid, step").fetchall()
        assert sorted((runs[run], step) for run, step in logged) == sorted((trial, step) for trial in trials for step in (1, 2))
        arms = database.execute("select value from params where key = 'arm'").fetchall()
        assert sorted(arms) == [("cross_entropy",)] * 2 + [("focal",)] * 2
        searches = database.execute("select run_uuid, value from params where key = 'search'").fetchall()
        assert {runs[run]: value for run, value in searches} == {trial: "2" if "-s2-" in trial else "1" for trial in trials}


def test_quiet_says_nothing_of_a_sweep_that_has_ended_and_what_is_wrong_all_the_same(finished_sweep, tmp_path):
    done = sweep("resume", finished_sweep.path, "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = sweep("run", finished_sweep.space, "--epochs", 0, "-q", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "training.epochs" in done.stderr


def test_quiet_and_verbose_exclude_each_other(finished_sweep):
    for command in ("run", "resume"):
        for flags in ("-qv", "-vq"):
            done = sweep(command, finished_sweep.space, flags)
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr.endswith("Error: -q and -v exclude each other\n")


def scalars(folder):
    """Values by name and step in the event files of a folder (a TFRecord is a length, a checksum, the event, a checksum)."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in folder.iterdir():
        content = path.read_bytes()
        while content:
            length = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + length])
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
            content = content[16 + length :]
    return found
