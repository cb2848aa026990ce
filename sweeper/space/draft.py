"""What could be read of a space file before the rules between its parts are checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sweeper.records import Value
from sweeper.space.loss_signatures import LossSignature
from sweeper.space.schema import ArmChoice, Choices, Compare, Condition, Dataset, Parameter, Resources, Search, Training
from sweeper.space.wording import Path


@dataclass
class Draft:
    """What could be read of a space file; a section is ``None`` where it could not.

    ``written``, ``written_training``: the names under both sections, also of those that could not be read.
    ``signatures``: of the losses that exist.
    ``positions``: places in the file of the choices that could be read.
    ``unread_conditions``: of the parameters that could not be read, by name.
    """

    dataset: Dataset | None
    training: Training | None
    compare: Compare | None
    search: Search | None
    resources: Resources | None
    parameters: dict[str, Parameter]
    written: frozenset[str]
    signatures: Mapping[str, LossSignature]
    all_losses_known: bool
    constants: dict[str, Value] = field(default_factory=dict)
    written_training: frozenset[str] = frozenset()
    positions: Mapping[str, list[int]] = field(default_factory=dict)
    unread_conditions: Mapping[str, Condition] = field(default_factory=dict)

    def choice_path(self, name: str, index: int) -> Path:
        """Where the choice that stands at ``index`` among those that could be read stands in the file."""
        return ("parameters", name, "choices", self.positions[name][index])

    def set_by_every_arm(self) -> set[str]:
        """Parameters that every choice of some parameter sets, and that need no value elsewhere."""
        choices = [parameter.choices for parameter in self.parameters.values() if isinstance(parameter, Choices)]
        arms = [[set(choice.settings) if isinstance(choice, ArmChoice) else set() for choice in entries] for entries in choices]
        return {name for settings in arms for name in set.intersection(*settings)}
