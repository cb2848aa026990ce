"""The best configuration of each arm as YAML that can be pasted into a space file."""

from __future__ import annotations

import re
from typing import Any

import yaml

from sweeper.records import Value
from sweeper.report.summary import Summary

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]*[A-Za-z0-9_]")
_YAML_WORDS = frozenset({"yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})


class _Quoted(str):
    """Text that some reader of YAML could take for a number or a truth value."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes doubtful text in quotes and floats in full precision."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  the signature is PyYAML's
        return True


_Dumper.add_representer(_Quoted, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"'))


def configurations(summary: Summary) -> str:
    """The section ``parameters`` with the best configuration of each arm as a choice of the compared parameter, or plainly for one arm."""
    best = [(arm.arm, arm.best.parameters) for arm in summary.arms if arm.best is not None]
    parameters: dict[str, Any]
    if summary.compared is None and len(best) == 1:
        parameters = {name: _safe(value) for name, value in best[0][1].items()}
    else:
        choices = [{"name": _safe(arm), **{name: _safe(value) for name, value in chosen.items()}} for arm, chosen in best]
        parameters = {summary.compared or "loss": {"choices": choices}}
    return yaml.dump({"parameters": parameters}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=76).rstrip("\n")


def _safe(value: Value) -> Value:
    if not isinstance(value, str) or (_PLAIN.fullmatch(value) and value.lower() not in _YAML_WORDS):
        return value
    return _Quoted(value)
