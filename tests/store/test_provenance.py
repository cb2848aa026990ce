"""Whose code a sweep's figures come from: the commit of every repository that the user's files lie in."""

import shutil
import subprocess

import pytest

from sweeper.store.provenance import gpu_names, hardware, provenance, repositories, repository_lines
from sweeper.training.device import missing_device, torch_sees_gpus, unused_gpu

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


@pytest.fixture(autouse=True)
def _own_git(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)


def git(folder, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always"]
    return subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository with one commit, which holds ``space.yaml``."""
    folder = tmp_path / "work"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "space.yaml").write_text("name: x\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Begin")
    return folder


def one(folder, *names):
    (found,) = repositories({name: folder / name if name != "." else folder for name in names or (".", "space.yaml")})
    return found


def test_a_clean_repository_is_named_once_with_all_that_it_holds(repository):
    assert one(repository) == {
        "root": str(repository),
        "commit": git(repository, "rev-parse", "HEAD"),
        "dirty": False,
        "holds": [".", "space.yaml"],
        "untracked": [],
    }


def test_a_change_of_a_tracked_file_is_dirt_and_results_lying_about_are_not(repository):
    (repository / "results").mkdir()
    (repository / "results" / "sweep.yaml").write_text("")
    assert one(repository)["dirty"] is False
    (repository / "space.yaml").write_text("name: y\n")
    assert one(repository)["dirty"] is True


@pytest.mark.parametrize("ignored", [False, True])
def test_a_file_that_no_commit_holds_is_named(repository, ignored):
    (repository / "mine.yaml").write_text("")
    (repository / ".git" / "info" / "exclude").write_text("mine.yaml\n" if ignored else "")
    assert one(repository, "space.yaml", "mine.yaml")["untracked"] == ["mine.yaml"]


def test_a_detached_head_has_its_commit(repository):
    git(repository, "checkout", "-q", "--detach")
    assert one(repository)["commit"] == git(repository, "rev-parse", "HEAD")


def test_a_repository_without_commits_has_none(tmp_path):
    git(tmp_path, "init", "-q", "new")
    (tmp_path / "new" / "space.yaml").write_text("")
    found = one(tmp_path / "new")
    assert (found["commit"], found["dirty"], found["untracked"]) == (None, False, ["space.yaml"])
    assert repository_lines([found]) == [f"no commit yet in {tmp_path}/new (., space.yaml); not tracked: space.yaml"]


def test_a_submodule_answers_for_itself(repository, tmp_path):
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "submodule", "add", "-q", str(repository), "inner")
    git(outer, "commit", "-qm", "Take it in")
    inner, around = repositories({"code": outer / "inner" / "space.yaml", "folder": outer})
    assert (inner["root"], inner["commit"]) == (str(outer / "inner"), git(repository, "rev-parse", "HEAD"))
    assert (around["root"], around["commit"]) == (str(outer), git(outer, "rev-parse", "HEAD"))


def test_what_lies_in_no_repository_says_so_once(tmp_path):
    (tmp_path / "space.yaml").write_text("")
    found = repositories({"working folder": tmp_path, "space file": tmp_path / "space.yaml"})
    assert found == [{"root": None, "holds": ["working folder", "space file"], "problem": "in no git repository"}]
    assert repository_lines(found) == ["in no git repository (working folder, space file)"]


def test_without_git_the_sweep_still_has_a_provenance(repository, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(repository)
    found = provenance(["sweep"], {}, {}, [], "space.yaml")
    assert [(each["holds"], each["problem"]) for each in found["repositories"]] == [
        (["working folder", "space file space.yaml"], "git is not installed"),
    ]
    assert repository_lines(found["repositories"]) == ["working folder, space file space.yaml: not known: git is not installed"]
    assert found["git_commit"] is None


def test_a_repository_of_somebody_else_is_told_in_gits_words(repository, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its tests of safe.directory
    assert "dubious ownership" in one(repository, "space.yaml")["problem"]


def test_the_repository_of_a_hook_that_starts_a_sweep_does_not_answer_for_others(repository, tmp_path, monkeypatch):
    git(tmp_path, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert one(repository)["root"] == str(repository)


def test_asking_changes_nothing_in_the_repository(repository):
    (repository / "space.yaml").touch()  # git would write the new time into its index
    before = {path: path.stat().st_mtime_ns for path in (repository / ".git").rglob("*")}
    one(repository)
    assert {path: path.stat().st_mtime_ns for path in (repository / ".git").rglob("*")} == before


def test_own_code_is_looked_for_where_it_is_defined(repository, tmp_path, monkeypatch):
    (repository / "provenance_losses.py").write_text("class Mine:\n    pass\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Add a loss")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.syspath_prepend(repository)
    found = provenance(["sweep"], {}, {}, ["provenance_losses:Mine"])["repositories"]
    assert [(each["root"], each["holds"]) for each in found] == [
        (str(repository), ["provenance_losses:Mine"]),
        (None, ["working folder"]),
    ]


@pytest.mark.parametrize("stored", [None, 3, [3], [{}], [{"root": "x", "holds": 3}], {"root": 1}])
def test_a_damaged_provenance_breaks_no_page(stored):
    assert isinstance(repository_lines(stored), list)


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """A program in the place of nvidia-smi, which tells of two GPUs."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho '0, GPU-aa11, NVIDIA H100'\necho '1, GPU-bb22, NVIDIA L4'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return program


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["NVIDIA H100", "NVIDIA L4"]),
        ("1", ["NVIDIA L4"]),
        ("1,0", ["NVIDIA L4", "NVIDIA H100"]),
        ("GPU-bb", ["NVIDIA L4"]),
        ("0,7,1", ["NVIDIA H100"]),
        ("", []),
        ("-1", []),
        ("MIG-5", ["a part of an NVIDIA GPU (MIG)"]),
    ],
)
def test_gpus_are_those_that_cuda_may_see(smi, monkeypatch, visible, names):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_names() == hardware()["gpus"] == names


@pytest.mark.parametrize("answer", ["echo 'no devices' >&2; exit 6", "echo 'No devices were found'", "exit 0"])
def test_a_driver_without_an_answer_has_no_gpus(smi, answer):
    smi.write_text(f"#!/bin/sh\n{answer}\n")
    assert gpu_names() == []


def test_a_machine_without_the_driver_has_no_gpus(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert gpu_names() == []


@pytest.mark.skipif(torch_sees_gpus(), reason="needs a torch that sees no GPU")
def test_a_gpu_that_trials_do_not_use_is_told_with_the_reason_and_the_way_out(smi):
    said = unused_gpu(joined=False)
    assert said.startswith("this machine has NVIDIA H100, NVIDIA L4, but trials train on the CPU, since ")
    assert said.endswith("; --gpus-per-trial 0 asks for the CPU")
    assert "torch " in said
    smi.unlink()
    assert unused_gpu(joined=False) is None


@pytest.mark.skipif(torch_sees_gpus(), reason="needs a torch that sees no GPU")
def test_a_process_that_was_given_a_gpu_that_torch_cannot_use_says_so():
    assert missing_device("cpu") is None
    assert "a GPU that torch cannot use: " in missing_device("cuda")
