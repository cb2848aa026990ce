"""The panel as a terminal shows it."""

import io

import pytest
from events import config, ended, half_way, space, tally
from rich.console import Console

from sweeper.driver.events import Notice, Preparing, SweepStarted, TrialEnded, TrialJoined, TrialReturned
from sweeper.records import TrialState
from sweeper.store import SweepFolder
from sweeper.view.panel import SweepPanel
from sweeper.view.watch import PatientConsole, watching

HALF_WAY = """\
╭─ focal-20260101-120000 ──────────────────────────────────────────────────────╮
│ search, 0:00:00                                                              │
│ ━━━━━━━━━━━━━──────────────────────────────────────────────── 6 of 27 trials │
│ arm                    search running pruned diverged failed confirm   best  │
│ l1                        3/6       0      1        0      1     0/3 0.1000  │
│ cross_entropy             1/6       0      0        0      0     0/3 0.5700  │
│ focal                     2/6       2      0        1      0     0/3 0.6123  │
│ best    val_accuracy 0.6123 by focal-0 (learning_rate 0.0312, gamma 1.728)   │
│ pace    pace not known yet, 2 trials in training, cpu 97 %                   │
│ pruner  12 % of 24 epochs saved by pruning                                   │
│ failed  l1-2: CUDA out of memory                                             │
╰──────────────────────────────────────────────────────────────────────────────╯

"""


def drawn(panel, width=80, height=24, **options):
    console = Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None, legacy_windows=False, **options
    )
    console.print(panel)
    return console.file.getvalue()


def test_the_panel_of_a_sweep_that_is_half_way():
    counts = tally()
    half_way(counts)
    assert drawn(SweepPanel(counts.snapshot(), "cpu 97 %")) == HALF_WAY


def test_the_panel_of_several_searches_has_a_line_for_each_arm_and_says_how_many_there_are():
    counts = tally(**{"compare.searches": 5})
    half_way(counts)
    counts(TrialEnded(ended(config("focal", 0, search=3), TrialState.COMPLETE, [0.7])))
    lines = drawn(SweepPanel(counts.snapshot(), "cpu 97 %")).splitlines()
    assert lines[1].strip("│ ") == "search, 0:00:00, 5 searches of each arm"
    assert lines[2].endswith(" 7 of 135 trials │")
    assert lines[6].strip("│ ") == "focal                    3/30       2      0        1      0    0/15 0.7000"
    assert lines[7].strip("│ ") == "best    val_accuracy 0.7000 by focal-s3-0 (learning_rate 0.0312)"
    narrow = drawn(SweepPanel(counts.snapshot(), "cpu 97 %"), 40, 12).splitlines()
    assert (max(map(len, narrow)), len(narrow) <= 12) == (40, True)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 20), (40, 12), (200, 60)])
@pytest.mark.parametrize("n_arms", [1, 3, 40])
def test_the_panel_fits_the_terminal_and_keeps_one_line_for_the_cursor(width, height, n_arms):
    choices = ", ".join(f"{{name: arm number {index} with a long name, loss: focal, gamma: {index / 100}}}" for index in range(n_arms))
    counts = tally(**{"parameters.loss": f"{{choices: [{choices}]}}"} if n_arms != 3 else {})
    if n_arms == 3:
        half_way(counts)
    lines = drawn(SweepPanel(counts.snapshot(), "cpu 97 %"), width, height).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= height
    assert lines[-1] == ""


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (80, "arm search running pruned diverged failed confirm best"),
        (60, "arm search running pruned failed confirm best"),
        (50, "arm search running failed confirm best"),
        (40, "arm search failed best"),
    ],
)
def test_a_narrow_terminal_goes_without_columns_before_it_cuts_the_arms_short(width, headings):
    counts = tally()
    half_way(counts)
    lines = drawn(SweepPanel(counts.snapshot()), width).splitlines()
    assert lines[3].split()[1:-1] == headings.split()
    arms = [line.split()[1] for line in lines[4:7]]
    assert arms[0] == "l1"
    assert all("cross_entropy".startswith(name.removesuffix("…")) and len(name) >= 7 for name in arms[1:2])
    assert arms[2] == "focal"


@pytest.mark.parametrize("options", [{"no_color": True}, {}])
@pytest.mark.parametrize(("encoding", "done", "left"), [("utf-8", "━", "─"), ("ascii", "#", "-")])
def test_how_far_the_bar_is_can_be_seen_without_colours(options, encoding, done, left):
    counts = tally()
    bars = []
    for n_ended in (0, 6):
        for number in range(n_ended):
            counts(TrialEnded(ended(config("l1", number), TrialState.COMPLETE, [0.1])))
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        console = Console(file=file, width=80, height=24, force_terminal=True, legacy_windows=False, color_system=None, **options)
        console.print(SweepPanel(counts.snapshot()))
        file.flush()
        bars.append(file.buffer.getvalue().decode(encoding).splitlines()[2].strip("│| ").partition(" ")[0])
    assert bars == [left * 61, done * 13 + left * 48]


def test_a_terminal_without_unicode_gets_plain_characters():
    counts = tally()
    half_way(counts)
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=file, width=80, height=24, force_terminal=True, color_system=None, legacy_windows=False)
    console.print(SweepPanel(counts.snapshot()))
    file.flush()
    assert file.buffer.getvalue().isascii()


def test_text_from_outside_cannot_move_the_cursor():
    counts = tally()
    counts(TrialEnded(ended(config("l1", 0), TrialState.FAILED, [], error="\x1b[2J\x07gone")))
    assert "\x1b[2J" not in drawn(SweepPanel(counts.snapshot()))
    assert "\\x1b[2J\\x07gone" in drawn(SweepPanel(counts.snapshot()))


def told(tmp_path, events, verbose=False, quiet=False, **changes):
    """What a watcher writes into a pipe, of a sweep whose space has these ``changes``."""
    console = Console(file=io.StringIO(), width=80)
    with watching(console=console, verbose=verbose, quiet=quiet) as watcher:
        watcher(SweepStarted(SweepFolder(str(tmp_path / "focal-1")), space(**changes), 2, {}))
        events(watcher)
    return console.file.getvalue().splitlines()


def test_a_pipe_gets_a_line_at_the_start_and_one_at_the_end(tmp_path):
    lines = told(tmp_path, lambda watcher: watcher(TrialEnded(ended(config("l1", 0), TrialState.COMPLETE, [0.1] * 4))))
    assert lines == [
        f"sweep focal-1: 3 arms (l1, cross_entropy, focal), 2 packs side by side, rows in {tmp_path}/focal-1",
        "0:00:00 ended: 1 of 27 trials, 4 epochs, 0 % of 4 epochs saved by pruning",
    ]


def test_a_sweep_of_several_searches_says_so_at_its_start(tmp_path):
    first, _ = told(tmp_path, lambda watcher: None, **{"compare.searches": 5})
    assert first == (
        f"sweep focal-1: 3 arms (l1, cross_entropy, focal), 5 searches of each arm, 2 packs side by side, rows in {tmp_path}/focal-1"
    )


def test_the_first_failure_is_told_at_once_and_the_others_are_counted(tmp_path):
    def events(watcher):
        watcher(TrialJoined(config("l1", 0)))
        watcher(TrialReturned(config("l1", 0), "the worker process died"))
        for number in range(3):
            watcher(TrialEnded(ended(config("l1", number), TrialState.FAILED, [], error="the worker process died")))

    assert told(tmp_path, events)[1:] == [
        "l1-0 failed and is tried again: the worker process died",
        "0:00:00 ended: 3 of 27 trials, 3 failed, 0 epochs, 0 % of 12 epochs saved by pruning",
    ]


def test_verbose_tells_the_end_of_every_trial(tmp_path):
    lines = told(tmp_path, lambda watcher: watcher(TrialEnded(ended(config("l1", 0), TrialState.PRUNED, [0.1]))), verbose=True)
    assert lines[1] == "l1-0 pruned after 1 epoch, val_accuracy 0.1000; learning_rate 0.0312"


def test_quiet_tells_nothing(tmp_path):
    assert told(tmp_path, lambda watcher: watcher(TrialEnded(ended(config("l1", 0), TrialState.FAILED, [], error="x"))), quiet=True) == []


def test_forced_colours_make_no_terminal_of_a_log(tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    lines = told(tmp_path, lambda watcher: watcher(TrialEnded(ended(config("l1", 0), TrialState.COMPLETE, [0.1] * 4))))
    assert len(lines) == 2
    assert not any("\x1b" in line for line in lines)


def test_a_pipe_that_is_closed_does_not_disturb_the_end(tmp_path):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    console = PatientConsole(file=Closed(), width=80)
    with watching(console=console) as watcher, pytest.raises(BrokenPipeError):
        watcher(SweepStarted(SweepFolder(str(tmp_path / "focal-1")), space(), 2, {}))


def test_before_the_sweep_a_warning_is_told_at_once_and_what_goes_on_only_when_it_takes_long():
    stream = io.StringIO()
    with watching(console=Console(file=stream, width=80)) as watcher:
        watcher(Preparing("12 % of 170 MB"))
        watcher(Notice("warning: my_code:Loss has changed"))
    assert stream.getvalue() == "warning: my_code:Loss has changed\n"
