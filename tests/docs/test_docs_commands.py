"""Every command in the documentation is one that works."""

import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest
from console import DOCS, ROOT, Command, WrittenFile, misread, session, sweep_commands
from forked_python import fast_python

PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
SESSIONS = [page for page in PAGES if any(isinstance(step, Command) for step in session(page))]


def path_with_sweep(folder: Path) -> str:
    """A PATH whose `sweep` and `python` are those of this environment."""
    for name, program in (("sweep", f'"{fast_python()}" -m sweeper'), ("python", f'"{sys.executable}"')):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        script.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def type_off(steps, folder):
    """Write the files and run the commands in an empty folder; each must end as the page says."""
    (folder / "bin").mkdir()
    environment = {"PATH": path_with_sweep(folder / "bin"), "HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    work = folder / "work"
    work.mkdir()
    (work / "search_spaces").symlink_to(ROOT / "search_spaces")
    for step in steps:
        if isinstance(step, WrittenFile):
            (work / step.name).write_text(step.text)
            continue
        done = subprocess.run(["sh", "-c", step.line], cwd=work, env=environment, capture_output=True, text=True, timeout=600, check=False)
        printed = done.stdout + done.stderr
        is_refused = "problem" in step.output.partition("\n")[0]
        assert done.returncode == (2 if is_refused else 0), f"{step.line}\n{printed}"
        assert not step.output.strip() or step.fits(printed), f"{step.line}\n{printed}"


def is_training(step):
    return isinstance(step, Command) and step.line.startswith(("sweep run", "sweep resume"))


@pytest.mark.parametrize("page", SESSIONS, ids=lambda page: page.stem)
def test_a_page_can_be_typed_off_until_something_is_trained(page, tmp_path):
    type_off(takewhile(lambda step: not is_training(step), session(page)), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [page for page in SESSIONS if any(map(is_training, session(page)))], ids=lambda page: page.stem)
def test_a_page_can_be_typed_off_from_top_to_bottom(page, tmp_path):
    type_off(session(page), tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_command_line_understands_every_command_that_is_named(page):
    refused = {command: reason for command in sweep_commands(page.read_text()) if (reason := misread(command))}
    assert refused == {}


def test_commands_are_found_and_misread_ones_are_told():
    text = "Type `sweep check SPACE --sead 1`, or:\n\n```bash\nsweep rum mine.yaml && sweep list\n```\n"
    assert sweep_commands(text) == ["sweep rum mine.yaml", "sweep list", "sweep check SPACE --sead 1"]
    assert "No such option" in misread("sweep check SPACE --sead 1")
    assert misread("sweep rum mine.yaml") == "no command rum"
    assert misread("sweep run SPACE --epochs N") is None
