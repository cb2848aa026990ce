"""Every command that takes a sweep takes it in the same forms, and answers the same mistake with the same words."""

import json

import pytest
from click.testing import CliRunner
from finished_sweep import SPACE, sweep

import sweeper
from sweeper.cli import cli
from sweeper.errors import SweeperError

OLD, NEW, OTHER = "tiny-20260101-000000", "tiny-20260102-000000", "other-20251231-000000"

COMMANDS = {
    "report": (),
    "status": (),
    "show": (),
    "resume": (),
    "reproduce": ("focal-7",),
    "dashboard": (),
    "export": ("--arm", "focal"),
}
"""What stands after the sweep. Each names the folder of the sweep that it means, if only to say what it cannot do with it."""


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Three sweeps that have begun and trained nothing, under a schema version that none can go on with."""
    for day, sweep_id in enumerate([OTHER, OLD, NEW], start=1):
        folder = tmp_path / "results" / sweep_id
        folder.mkdir(parents=True)
        (folder / "sweep.yaml").write_text(SPACE)
        (folder / "provenance.json").write_text(json.dumps({"schema_version": 99, "started_at": f"2026-01-0{day}T00:00:00+00:00"}))
    (tmp_path / "results" / "no_sweep").mkdir()
    (tmp_path / "tiny").mkdir()  # a folder of this name hides no sweep whose id begins with it
    (tmp_path / "notes.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


def said(command, *form):
    done = CliRunner().invoke(cli, [command, *form, *COMMANDS[command]])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("form", "where", "meant"),
    [
        ((), ".", NEW),
        (("--results", "{results}"), "/", NEW),
        ((OLD,), ".", OLD),
        ((f"{OLD}/",), ".", OLD),
        ((OLD, "--results", "{results}/"), "/", OLD),
        (("tiny-20260101",), ".", OLD),
        (("o",), ".", OTHER),
        ((f"results/{OLD}",), ".", OLD),
        ((f"./results/{OLD}/",), ".", OLD),
        (("results/other",), ".", OTHER),
        ((f"{{results}}/{OLD}",), "/", OLD),
        (("{results}/other",), "/", OTHER),
        ((f"file://{{results}}/{OLD}",), "/", OLD),
        ((".",), f"results/{OLD}", OLD),
        (("./",), f"results/{OLD}", OLD),
        ((f"../{OTHER}",), f"results/{OLD}", OTHER),
        (("..",), f"results/{OLD}/tune", OLD),
    ],
)
def test_a_sweep_is_meant_by_its_folder_its_id_the_beginning_of_one_or_nothing(results, monkeypatch, command, form, where, meant):
    (results / OLD / "tune").mkdir()
    monkeypatch.chdir(results.parent / where)
    code, output = said(command, *(part.format(results=results) for part in form))
    if command == "reproduce" and form[:1] in ((), ("--results",)):
        assert f"\nthe newest sweep is {meant}; it has no trial of this name either\n" in output
        return
    # what a command refuses, it refuses in the name of the folder as it was given
    folder = form[0].rstrip("/") if form else ""
    assert meant in output or output.startswith((f"{folder}: ", f"{folder}/provenance.json: ")), output
    assert not any(other in output for other in {OLD, NEW, OTHER} - {meant}), output
    assert "Traceback" not in output
    assert code in (0, 2)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("form", "message"),
    [
        (("tiny-2026",), f"several sweeps begin with 'tiny-2026' in results: {NEW}, {OLD}; give more of the one you mean"),
        (("results/tiny",), f"several sweeps begin with 'tiny' in results: {NEW}, {OLD}; give more of the one you mean"),
        (("tinny",), f"no sweep 'tinny' in results; did you mean '{NEW}'?"),
        (("zzz",), f"no sweep 'zzz' in results; known: {OTHER}, {OLD}, {NEW}"),
        (("",), "the sweep's name is empty; leave it out to mean the newest in results"),
        (("notes.txt",), "notes.txt: is a file; give the folder that holds the sweeps, or a sweep's own"),
        (("no_sweep",), "results/no_sweep: no sweep in this folder (a sweep's folder holds sweep.yaml); "),
        (("results/no_sweep",), "results/no_sweep: no sweep in this folder (a sweep's folder holds sweep.yaml); "),
        ((".",), ".: no sweep in this folder (a sweep's folder holds sweep.yaml); "),
        (("nowhere/x",), "nowhere: no such folder; "),
        (("--results", "nowhere"), "nowhere: no such folder; "),
        (("x", "--results", "notes.txt"), "notes.txt: is a file; "),
        (("nothing://here/x",), "nothing://here/x: cannot open this storage: "),
    ],
)
def test_every_command_answers_what_is_no_sweep_in_the_same_words(results, command, form, message):
    code, output = said(command, *form)
    if command == "reproduce" and form[0] == "--results":
        message = message.removesuffix("; ")
    assert output.startswith(message), output
    assert code == 2


def test_a_folder_of_sweeps_means_the_newest_and_all_of_them_to_report(results):
    for command in ("status", "show"):
        code, output = said(command, "results/")
        assert (code, NEW in output, OLD in output) == (0, True, False)
    code, output = said("report", "results/")
    assert code == 0
    assert output.index(OTHER) < output.index(OLD) < output.index(NEW)


@pytest.mark.parametrize("form", [("--sweep", OLD), ("results", "--sweep", OLD), ("--sweep", "other", "--results", "results/")])
def test_report_takes_one_sweep_of_a_folder_by_an_option_too(results, form):
    code, output = said("report", *form)
    assert code == 0
    assert ("other" in form) == (OTHER in output) != (OLD in output)
    assert NEW not in output


def test_the_help_of_every_command_says_the_same_of_a_sweep():
    for command in COMMANDS:
        text = " ".join(CliRunner().invoke(cli, [command, "--help"]).output.split())
        assert "[SWEEP]" in text
        assert "SWEEP is a sweep's folder or URI, its id, or the beginning of one; without it, the newest sweep below --results." in text
        assert "--results PATH_OR_URI Folder that holds the sweeps. [default: results]" in text


def test_python_finds_a_sweep_as_the_command_line_does(results):
    for named, meant in [((), NEW), ((OLD,), OLD), (("other",), OTHER), ((results / OLD,), OLD), ((f"results/{OLD}/",), OLD)]:
        assert sweeper.open(*named).id == meant
    for take in (sweeper.open, sweeper.resume):
        with pytest.raises(SweeperError, match="several sweeps begin with 'tiny-2' in results"):
            take("tiny-2")
    with pytest.raises(SweeperError, match=rf"results/{NEW}/provenance\.json: schema version 99"):
        sweeper.resume(progress=False)


@pytest.mark.parametrize("command", ["show", "reproduce"])
def test_a_trial_alone_is_one_of_the_newest_sweep(finished_sweep, command):
    """``focal-2`` is a trial, and the beginning of no sweep that one would write so."""
    found = sweep(command, "focal-2", "--results", finished_sweep.results)
    assert found.stdout.startswith(("focal-2 of ", "focal-2: equal to the last bit")), found
    slip = sweep(command, "focl-2", "--results", finished_sweep.results)
    assert slip.returncode == 2
    assert slip.stderr == (
        f"no sweep 'focl-2' in {finished_sweep.results}; known: {finished_sweep.id}\n"
        f"the newest sweep is {finished_sweep.id}; did you mean its trial 'focal-2'?\n"
    )


def test_a_trial_goes_before_a_sweep_that_begins_like_it_and_a_whole_id_before_the_trial(finished_sweep, tmp_path, monkeypatch):
    import shutil

    monkeypatch.chdir(tmp_path)
    for sweep_id in ("focal-20260101-000000", "focal-1", "tiny-20260101-000000"):
        shutil.copytree(finished_sweep.path, tmp_path / "results" / sweep_id)
    for sweep_id in ("focal-20260101-000000", "focal-1"):
        (tmp_path / "results" / sweep_id / "provenance.json").unlink()

    def headline(*names):
        return CliRunner().invoke(cli, ["show", *names]).output.partition(":")[0]

    assert headline("focal-2") == "focal-2 of tiny-20260101-000000"
    assert headline("focal-2026") == "focal-20260101-000000"
    assert headline("focal-1") == "focal-1"
    assert headline("tiny", "focal-1") == "focal-1 of tiny-20260101-000000"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "Missing argument 'TRIAL': which trial to train again; sweep show names the best ones."),
        (("tiny",), "Missing argument 'TRIAL': "),
    ],
)
def test_reproduce_asks_for_a_trial(finished_sweep, names, message):
    done = sweep("reproduce", *names, "--results", finished_sweep.results)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
