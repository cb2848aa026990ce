"""The recorded terminal session is whole, fits its terminal, and is shown."""

import re

import pytest
from console import DOCS, misread

SCREENS = sorted((DOCS / "session").glob("*.txt"))
SCRIPT = (DOCS / "record_session.sh").read_text()
RECORDED = re.findall(r"^(?:record|keep) (\d\d-\w+)", SCRIPT, re.MULTILINE)
TYPED = re.findall(r"(?:record \S+|enter) '(sweep [^'|&]+)", SCRIPT)


def test_every_screen_of_the_script_is_recorded_and_shown_in_its_order():
    assert [screen.stem for screen in SCREENS] == RECORDED
    assert re.findall(r"<!-- generated: session (\S+) -->", (DOCS / "first-half-hour.md").read_text()) == RECORDED


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.stem)
def test_a_screen_is_at_most_80_columns_wide_and_free_of_tracebacks_and_of_words_of_ray(screen):
    text = screen.read_text()
    assert max(map(len, text.splitlines())) <= 80
    assert text.strip()
    for word in ("Traceback", "(raylet)", "ray::", "WARNING", "UserWarning"):
        assert word not in text


def test_the_panel_was_recorded_while_it_ran():
    text = (DOCS / "session" / "05-running.txt").read_text()
    assert re.search(r"\d+ of 120 trials", text)
    assert "best    val_accuracy" in text


@pytest.mark.parametrize("command", TYPED)
def test_the_command_line_understands_what_was_typed(command):
    assert misread(command) is None
