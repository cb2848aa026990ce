"""Writes the pages, and the parts of pages, that are made from the code and from other files; ``--check`` only names the stale ones.

python docs/generate.py

A part stands between ``<!-- generated: NAME ARGUMENT -->`` and ``<!-- end of generated text -->``; see :data:`PARTS`.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import optuna
from _pages import command_line, included, mistakes, modules, parquet, space_file

ROOT = Path(__file__).parents[1]
PAGES: Mapping[str, Callable[[], str]] = {
    "docs/reference/space-file.md": space_file.page,
    "docs/reference/mistakes.md": mistakes.page,
    "docs/reference/command-line.md": command_line.page,
    "docs/reference/parquet.md": parquet.page,
    "docs/reference/modules.md": modules.page,
}
PARTS: Mapping[str, Callable[[str, str], str]] = {
    "code": included.code,
    "file": included.file,
    "rooms": modules.rooms,
    "session": included.screen,
}
"""What makes the part NAME, given ARGUMENT and the path of the page."""

PART = re.compile(r"(?<=^<!-- generated: )(\S+) ?(\S*)( -->\n).*?(?=^<!-- end of generated text -->$)", re.MULTILINE | re.DOTALL)


def stale_pages() -> dict[str, str]:
    """The new text of every page whose file holds another, by its path below the project's root."""
    optuna.logging.set_verbosity(logging.ERROR)
    texts = {name: make().rstrip("\n") + "\n" for name, make in PAGES.items()}
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]):
        name = path.relative_to(ROOT).as_posix()
        if name not in PAGES:
            texts[name] = with_parts(path.read_text(encoding="utf-8"), name)
    return {name: text for name, text in texts.items() if not (ROOT / name).exists() or (ROOT / name).read_text(encoding="utf-8") != text}


def with_parts(text: str, page: str) -> str:
    """The text of ``page`` with its generated parts made anew."""
    return PART.sub(lambda match: f"{match[1]} {match[2]}".rstrip() + f"{match[3]}\n{PARTS[match[1]](match[2], page)}\n\n", text)


def main() -> int:
    """Write or check; returns the exit code."""
    stale = stale_pages()
    is_check = "--check" in sys.argv[1:]
    for name, text in stale.items():
        sys.stdout.write(f"{'stale' if is_check else 'written'}: {name}\n")
        if not is_check:
            (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / name).write_text(text, encoding="utf-8")
    return 1 if is_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
