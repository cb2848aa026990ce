"""Parses YAML into plain data that remembers its lines: safe, bounded, no duplicate keys, numbers and booleans as in YAML 1.2."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

from sweeper.errors import Problem
from sweeper.space.wording import Path, dotted
from sweeper.text import shown

MAX_BYTES = 256 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 32
MERGE = "<<"

CORE = "tag:yaml.org,2002:"
# The core schema of YAML 1.2: 1e-4 is a number, yes / no / on / off are text, 1:30 is no sexagesimal.
RESOLVERS = (
    (f"{CORE}null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    (f"{CORE}bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    (f"{CORE}int", re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"), list("-+0123456789")),
    (
        f"{CORE}float",
        re.compile(r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"),
        list("-+.0123456789"),
    ),
)


@dataclass
class Document:
    """Plain data with the line of every key and list entry, and the flags that overrode some of it."""

    data: Any
    lines: dict[Path, int] = field(default_factory=dict)
    flags: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    refused: set[Path] = field(default_factory=set)

    def is_refused(self, path: Path) -> bool:
        """Whether a value at or above ``path`` could not be read and has its problem already, so that more words would mislead."""
        return any(path[:length] in self.refused for length in range(len(path) + 1))

    def problem(self, path: Path, message: str, at: Path | None = None) -> Problem:
        """``message`` about the value at ``path``, at the line of ``at`` or its nearest parent, or under the flag that set it."""
        place = path if at is None else at
        for length in range(len(place), -1, -1):
            if place[:length] in self.flags:
                below = dotted(path[length:])
                return Problem(None, self.flags[place[:length]], f"{below}: {message}" if below else message)
            if place[:length] in self.lines:
                return Problem(self.lines[place[:length]], dotted(path), message)
        return Problem(None, dotted(path), message)


class _TooDeepError(yaml.MarkedYAMLError):
    """Raised before Python's own recursion limit is."""


class _CoreSchemaLoader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML keeps its resolvers on the class
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            start = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _TooDeepError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=start)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _tag, _pattern, _first in RESOLVERS:
    _CoreSchemaLoader.add_implicit_resolver(_tag, _pattern, _first)


def read_yaml(text: str) -> Document:
    """The data of ``text`` with its lines; what is wrong with it is in ``problems``, and the data holds all that could be read."""
    if len(text) > MAX_BYTES:
        return Document(None, problems=[Problem(None, "", f"is larger than {MAX_BYTES // 1024} KiB, which no space file needs")])
    try:
        loader = _CoreSchemaLoader(text)
    except yaml.reader.ReaderError as error:
        return _unreadable_character(text, error)
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return Document(None, problems=[Problem(mark.line + 1 if mark else None, "", _syntax_message(error))])
    except (ValueError, OverflowError):  # PyYAML hands "\\UFFFFFFFF" to chr()
        return Document(None, problems=[Problem(loader.line + 1, "", "is not valid YAML: an escape names no Unicode character")])
    if node is None:
        return Document(None)
    document = Document(None)
    document.lines[()] = node.start_mark.line + 1
    document.data = _Builder(document).build(node, ())
    return document


def _unreadable_character(text: str, error: yaml.reader.ReaderError) -> Document:
    line = text.count("\n", 0, error.position) + 1
    message = f"is not valid YAML: character U+{ord(text[error.position]):04X} is not allowed"
    return Document(None, problems=[Problem(line, "", message)])


def _syntax_message(error: yaml.MarkedYAMLError) -> str:
    if error.problem and "'\\t'" in error.problem:
        return "is not valid YAML: a tab; indent with spaces"
    if error.problem == "but found another document":
        return "holds more than one YAML document; a space file is one"
    if error.problem == "mapping values are not allowed here":
        likely = "is the line indented too deep, a space missing after the colon of the line before, or a text with ': ' not in quotes?"
        return f"is not valid YAML: a colon too many; {likely}"
    place, start = error.problem_mark, error.context_mark
    since = f" that begins on line {start.line + 1}" if start and place and start.line != place.line else ""
    context = f" ({error.context}{since})" if error.context else ""
    return f"is not valid YAML: {error.problem}{context}"


class _TooManyNodesError(Exception):
    """Aliases of aliases: the text is small, the data is not."""


class _Builder:
    """Walks the node graph once, following aliases, and writes lines and problems into the document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.n_nodes = 0
        self.open_nodes: set[int] = set()

    def build(self, node: yaml.Node, path: Path) -> Any:
        try:
            return self._build(node, path)
        except _TooManyNodesError:
            self.document.problems.append(Problem(None, "", f"holds more than {MAX_NODES:,} values once its aliases are written out"))
            return None

    def _build(self, node: yaml.Node, path: Path) -> Any:
        self.n_nodes += 1
        if self.n_nodes > MAX_NODES:
            raise _TooManyNodesError
        if id(node) in self.open_nodes:
            return self._refuse(node, path, "an alias that contains itself")
        if len(path) > MAX_DEPTH:
            return self._refuse(node, path, f"nested deeper than {MAX_DEPTH} levels")
        self.open_nodes.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == f"{CORE}map":
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode) and node.tag == f"{CORE}seq":
                return [self._entry(child, (*path, index)) for index, child in enumerate(node.value)]
            if isinstance(node, yaml.ScalarNode) and node.tag in SCALARS:
                return self._scalar(node, path)
            return self._refuse(node, path, f"the tag {shown(node.tag)} is not allowed; write plain values")
        finally:
            self.open_nodes.discard(id(node))

    def _entry(self, node: yaml.Node, path: Path) -> Any:
        self.document.lines[path] = node.start_mark.line + 1
        return self._build(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.document.problems.append(Problem(line, dotted(path), "a key must be text, not a list or a mapping"))
                continue
            key: str = key_node.value
            here = (*path, key)
            if key == MERGE:
                self._refuse(key_node, here, "merge keys are not supported; write the keys out")
            elif key in data:
                first = self.document.lines[here]
                self.document.problems.append(Problem(line, dotted(here), f"duplicate key; it is on line {first} already"))
            else:
                self.document.lines[here] = line
                data[key] = self._build(value_node, here)
        return data

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        try:
            return SCALARS[node.tag](node.value)
        except (ValueError, KeyError):
            return self._refuse(node, path, f"cannot be read as {node.tag.removeprefix(CORE)}: {shown(node.value)}")

    def _refuse(self, node: yaml.Node, path: Path, message: str) -> None:
        self.document.problems.append(Problem(node.start_mark.line + 1, dotted(path), message))
        self.document.refused.add(path[:-1] if path[-1:] == (MERGE,) else path)


def _integer(text: str) -> int:
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text, base)


def _number(text: str) -> float:
    special = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
    return special[text.lower()] if text.lower() in special else float(text)


def _text(text: str) -> str:
    text.encode()  # refuses lone surrogates, which no file name and no Parquet file can hold
    return text


SCALARS: dict[str, Callable[[str], Any]] = {
    f"{CORE}null": lambda _: None,
    f"{CORE}bool": lambda text: {"true": True, "false": False}[text.lower()],
    f"{CORE}int": _integer,
    f"{CORE}float": _number,
    f"{CORE}str": _text,
}
