"""A mistake in each key of a space file, with what ``sweep check`` says of it."""

from __future__ import annotations

from .key_table import FILE, all_keys, refusal

INTRODUCTION = """\
# A mistake in each key

`sweep check` reports every mistake of a file at once, each with its line, its key, the rule, the value, and a way out where one is near.
The exit code is 2. Below, each mistake takes the place of one line of this file, `mine.yaml`, which can be run as it stands:

```yaml
{file}```

The messages come from the checker itself, as `python docs/generate.py` found them.
"""
UNKNOWN = (
    ("a key that does not exist", "sead: 2"),
    ("a key that does not exist, in a section", "training: {epoch: 9}"),
    ("a key twice", "training: {epochs: 9, epochs: 30}"),
    ("several at once", "training: {epochs: 0, momentum: 2, augmentation: false}"),
)


def page() -> str:
    """The whole page."""
    pieces = [INTRODUCTION.format(file=FILE)]
    section = ""
    for key in all_keys():
        top = key.name.partition(".")[0]
        if top != section:
            section = top
            pieces.append(f"## {section}\n")
        pieces.append(_mistake(f"`{key.name}`", key.wrong))
    pieces.append("## Any section\n")
    pieces += [_mistake(title, line) for title, line in UNKNOWN]
    return "\n".join(pieces)


def _mistake(title: str, line: str) -> str:
    return f"{title}\n\n```yaml\n{line}\n```\n```text\n{refusal(line)}\n```\n"
