"""Adds to the site what is a file of the project and not a page below ``docs/``: the README is its first page."""

from __future__ import annotations

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

from _pages import included

PAGES = {"index.md": "README.md", "changelog.md": "CHANGELOG.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of the site, with :data:`PAGES`."""
    for page, path in PAGES.items():
        files.append(File.generated(config, page, content=included.file(path, f"docs/{page}")))
    return files
