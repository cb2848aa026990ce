"""Text from other files of the project, with its links turned to where it is shown."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s]+)\)")
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def screen(name: str, page: str) -> str:  # noqa: ARG001
    """One screen of the recorded session as a block of text."""
    text = (ROOT / "docs" / "session" / f"{name}.txt").read_text(encoding="utf-8")
    return f"```text\n{text}```"


def code(path: str, page: str) -> str:  # noqa: ARG001
    """A file of code as a block that a reader writes under its name; ``path`` is relative to the project's root."""
    language = {".py": "python", ".yaml": "yaml"}[Path(path).suffix]
    return f'```{language} title="{Path(path).name}"\n{(ROOT / path).read_text(encoding="utf-8")}```'


def file(path: str, page: str) -> str:
    """The text of a Markdown file as ``page`` shows it; both paths are relative to the project's root.

    Links into ``docs/`` lead to the same places from there. Links to other files become plain text: the site does not hold them.
    """
    pieces = FENCE.split((ROOT / path).read_text(encoding="utf-8").strip())
    return "".join(piece if piece.startswith("```") else LINK.sub(lambda match: _link(match, path, page), piece) for piece in pieces)


def _link(match: re.Match[str], source: str, page: str) -> str:
    image, label, target = match.groups()
    path, _, anchor = target.partition("#")
    place = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if not place.startswith("docs/"):
        return f"`{place}`" if image or label.strip("`") == path else f"{label} (`{place}`)"
    return f"{image}[{label}]({posixpath.relpath(place, posixpath.dirname(page))}{'#' + anchor if anchor else ''})"
