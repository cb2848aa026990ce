"""Writes the pages that are made from the code; with ``--check`` only says which are stale, and exits with 1 if any is.

python docs/generate.py
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import optuna
from _pages import command_line, mistakes, modules, parquet, space_file

DOCS = Path(__file__).parent
PAGES: Mapping[str, Callable[[], str]] = {
    "reference/space-file.md": space_file.page,
    "reference/mistakes.md": mistakes.page,
    "reference/command-line.md": command_line.page,
    "reference/parquet.md": parquet.page,
    "reference/modules.md": modules.page,
}


def stale_pages() -> dict[str, str]:
    """The new text of every generated page whose file holds another, by its path below ``docs/``."""
    optuna.logging.set_verbosity(logging.ERROR)
    texts = {name: make().rstrip("\n") + "\n" for name, make in PAGES.items()}
    return {name: text for name, text in texts.items() if not (DOCS / name).exists() or (DOCS / name).read_text(encoding="utf-8") != text}


def main() -> int:
    """Write or check; returns the exit code."""
    stale = stale_pages()
    is_check = "--check" in sys.argv[1:]
    for name, text in stale.items():
        sys.stdout.write(f"{'stale' if is_check else 'written'}: docs/{name}\n")
        if not is_check:
            (DOCS / name).parent.mkdir(parents=True, exist_ok=True)
            (DOCS / name).write_text(text, encoding="utf-8")
    return 1 if is_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
