"""What MkDocs puts into pages while it builds: files from outside ``docs/``, so that each is written once.

``<!-- include: PATH -->`` stands for the file ``PATH``, seen from the project's root; for a pattern, all files that match, or a sentence if
none does. Links in it that lead into ``docs/`` are turned; those to other files of the project become plain text.
``<!-- session: NAME -->`` stands for the screen ``docs/session/NAME.txt``.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SESSION = re.compile(r"^<!-- session: (\S+) -->$", re.MULTILINE)
INCLUDE = re.compile(r"^<!-- include: (\S+) -->$", re.MULTILINE)
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s]+)\)")
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page's text with every include and every screen of the recorded session in its place."""
    markdown = SESSION.sub(lambda match: f"```text\n{(ROOT / 'docs' / 'session' / match[1]).with_suffix('.txt').read_text()}```", markdown)
    return INCLUDE.sub(lambda match: included(match[1], page.file.src_uri), markdown)


def included(pattern: str, page: str) -> str:
    """The files that match, one after another, with their links as ``page`` needs them."""
    paths = sorted(ROOT.glob(pattern))
    if not paths and "*" not in pattern:
        raise FileNotFoundError(f"{page} includes {pattern}, which does not exist")
    texts = [_turned(path.read_text(encoding="utf-8").strip(), path, page) for path in paths]
    return "\n\n".join(texts) if texts else f"No table has been recorded under `{posixpath.dirname(pattern)}/` yet."


def _turned(text: str, source: Path, page: str) -> str:
    pieces = FENCE.split(text)
    return "".join(piece if piece.startswith("```") else LINK.sub(lambda match: _link(match, source, page), piece) for piece in pieces)


def _link(match: re.Match[str], source: Path, page: str) -> str:
    image, label, target = match.groups()
    path, _, anchor = target.partition("#")
    place = posixpath.normpath(posixpath.join(source.relative_to(ROOT).parent.as_posix(), path))
    if not place.startswith("docs/"):
        return f"`{place}`" if image or label.strip("`") == path else f"{label} (`{place}`)"
    turned = posixpath.relpath(place.removeprefix("docs/"), posixpath.dirname(page) or ".")
    return f"{image}[{label}]({turned}{'#' + anchor if anchor else ''})"
