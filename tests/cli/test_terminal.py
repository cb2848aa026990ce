"""The panel in a real terminal of 80 x 24, and what Ctrl-C leaves behind."""

import contextlib
import re
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from finished_sweep import SPACE


class Terminal:
    """tmux on a socket of its own."""

    def __init__(self, folder, width=80):
        self.socket = f"sweeper-{uuid.uuid4().hex[:8]}"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", "24", "-s", "t", "-c", str(folder), "env PS1='$ ' sh")

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-L", self.socket, *arguments], capture_output=True, text=True, check=True, timeout=20).stdout

    def type(self, text, key="Enter"):
        self.tmux("send-keys", "-t", "t", text, key)

    def screen(self, *flags):
        return self.tmux("capture-pane", "-t", "t", "-p", *flags)

    def wait_for(self, pattern, seconds=240):
        """All that the terminal has shown, from the very look in which ``pattern`` was there."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if re.search(pattern, screen := self.screen("-S", "-500")):
                return screen
            time.sleep(0.2)
        pytest.fail(f"{pattern!r} never appeared:\n{screen}")


@pytest.fixture
def terminal(tmp_path, request):
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux")
    opened = Terminal(tmp_path, getattr(request, "param", 80))
    yield opened
    with contextlib.suppress(subprocess.CalledProcessError):
        opened.tmux("kill-server")


@pytest.mark.one_by_one
def test_the_panel_stays_in_its_place_and_ctrl_c_leaves_a_clean_terminal(terminal, tmp_path):
    (tmp_path / "tiny.yaml").write_text(SPACE)
    terminal.type(f"NO_COLOR=1 {sys.executable} -m sweeper run tiny.yaml --trials-per-arm 3000 --pack 1 --results results")
    terminal.wait_for(r"pruner +\d+ % of \d+ epochs saved")
    # The trials are so short that a look may fall between two of them
    plain = terminal.wait_for(r"pace +\d+\.\d (epochs/s|s/epoch), 2 trials in training, cpu \d+ %")
    styled = terminal.screen("-e")
    lines = plain.splitlines()
    top = [index for index, line in enumerate(lines) if line.startswith("╭─ tiny-")]
    assert len(top) == 1, plain  # drawn again in its place, not below itself
    panel = lines[top[0] : top[0] + 11]
    assert all(len(line) == 80 for line in panel if line.startswith(("╭", "│", "╰")))
    assert re.match(r"│ search, 0:00:\d\d", panel[1])
    assert re.search(r"\d+ of 6,004 trials", panel[2])
    assert panel[3].split()[1:-1] == ["arm", "search", "running", "pruned", "diverged", "failed", "confirm", "best"]
    assert re.match(r"│ cross_entropy +\d+/3000 ", panel[4])
    assert re.search(r"best +val_accuracy 0\.\d{4} by (cross_entropy|focal)-\d+ \(learning_rate ", plain)
    assert re.match(r"│ ━*─+ \d+ of", panel[2])
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", styled)  # NO_COLOR
    terminal.type("C-c", key="")
    after = terminal.wait_for(r"go on with: sweep resume results/tiny-")
    assert "Traceback" not in after
    assert (after.count("╭─ tiny-"), after.count("╰")) == (1, 1), after  # the ^C that is echoed moves no border
    terminal.type("echo exit code $?")
    after = terminal.wait_for(r"exit code 130")
    assert terminal.tmux("display-message", "-p", "-t", "t", "#{cursor_flag}").strip() == "1"


WATCHED = """
import sys
import time
from events import config, ended, space
from sweeper.driver.events import SweepStarted, TrialEnded
from sweeper.process.interruption import interruptible
from sweeper.view.watch import watching
from sweeper.records import TrialState
from sweeper.store import SweepFolder

with interruptible(ends_the_process=True), watching() as watcher:
    watcher(SweepStarted(SweepFolder("results/focal-1"), space(), 2, {}))
    try:
        for number in range(600):
            watcher(TrialEnded(ended(config("l1", number), TrialState.COMPLETE, [0.1] * 4)))
            time.sleep(0.1)
    finally:
        time.sleep(float(sys.argv[1]))
"""


@pytest.mark.parametrize("terminal", [40, 60, 80, 130], indirect=True)
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_leaves_one_whole_panel_in_a_terminal_of_any_width(terminal, tmp_path, presses):
    (tmp_path / "watched.py").write_text(WATCHED)
    # The second press comes while things are put in order: one that comes later is echoed behind the panel, and the kernel throws away
    # what the process has just written and the terminal has not read yet
    seconds = 3 * (presses - 1)
    environment = f"env -u COLUMNS NO_COLOR=1 PYTHONPATH={Path(__file__).parents[1] / 'view'}"
    terminal.type(f"{environment} {sys.executable} watched.py {seconds}")
    terminal.wait_for(r"pruner ")
    for _ in range(presses):
        terminal.type("C-c", key="")
    after = terminal.wait_for(r"(?m)^interrupted$")
    assert (after.count("╭─ focal-1"), after.count("╰")) == (1, 1), after
    assert re.search(r"(?m)^│ ━*─* \d+ of 27 trials │$", after), after
