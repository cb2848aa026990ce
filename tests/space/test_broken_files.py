"""Every file in ``broken/`` is refused with exactly the text beside it. Running the module writes the texts anew, to be read."""

import os
from pathlib import Path

import pytest

from sweeper.errors import SpaceError
from sweeper.space import load_space

BROKEN = Path(__file__).parent / "broken"
FILES = sorted(BROKEN.glob("*.yaml"))


def refusal(path: Path) -> str:
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with pytest.raises(SpaceError) as caught:
            load_space(path.name)
    finally:
        os.chdir(here)
    return f"{caught.value}\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_broken_file_is_refused_with_all_its_mistakes_in_the_words_expected(path):
    assert refusal(path) == path.with_suffix(".txt").read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_refusal_says_what_to_exit_with_and_holds_nothing_a_terminal_would_act_on(path):
    text = refusal(path)
    assert SpaceError.exit_code == 2
    assert all(line.isprintable() for line in text.splitlines())
    assert f"{path.name}: {text.count(chr(10)) - 1} problem" in text


def test_the_example_of_the_style_guide_has_its_text():
    assert refusal(BROKEN / "style.yaml") == (
        "style.yaml: 2 problems\n"
        "  line 9   parameters.learning_rate: low must be > 0 when log is true, got 0.0\n"
        "  line 14  parameters.gama: no parameter of loss 'focal' has this name; did you mean 'gamma'?\n"
    )


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    for path, reason in [
        (tmp_path / "none.yaml", "no such file"),
        (tmp_path, "is a folder; give a space file in it"),
        ("a\0b.yaml", "cannot be read: embedded null byte"),
        (tmp_path / ("x" * 300), "cannot be read: File name too long"),
        (tmp_path / "file" / "below.yaml", "cannot be read: Not a directory"),
    ]:
        (tmp_path / "file").touch()
        with pytest.raises(SpaceError) as caught:
            load_space(path)
        assert str(caught.value).endswith(f": 1 problem\n           {reason}"), path


def test_a_file_too_large_to_be_a_space_is_not_read_on(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_text("name: x\n" + "# padding\n" * 100_000)
    with pytest.raises(SpaceError, match="is larger than 256 KiB, which no space file needs"):
        load_space(path)


if __name__ == "__main__":
    for file in FILES:
        file.with_suffix(".txt").write_text(refusal(file))
