"""A checked space, ready to run: every section complete, every rule met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, PrivateAttr

from sweeper.catalogue import TRAINING_PARAMETERS, Kind
from sweeper.custom_code import is_import_path
from sweeper.errors import Problem, SpaceError
from sweeper.metrics import declare
from sweeper.records import Architecture, TrainingSettings, Value
from sweeper.space.arms import Arm, Definition, Signatures, define, list_arms
from sweeper.space.configurations import architectures, iterate_grid, n_points
from sweeper.space.schema import (
    Compare,
    Constant,
    Dataset,
    FloatRange,
    IntRange,
    Parameter,
    Resources,
    Search,
    Section,
    Seed,
    SweepName,
    Training,
)
from sweeper.text import printable

ColumnType: TypeAlias = Literal["string", "int64", "float64", "bool"]


@dataclass(frozen=True, slots=True)
class Remarks:
    """What was changed in a file when it was read, and where its values are; two spaces that differ in nothing else are equal.

    ``source``: the file. ``places``: of code of the user's own, by import path.
    """

    sentences: tuple[str, ...] = field(default=(), compare=False)
    source: str = field(default="space", compare=False)
    places: Mapping[str, Problem] = field(default_factory=dict, compare=False)


class Space(Section):
    """What ``parse_space`` and ``load_space`` return; they alone check the rules between sections."""

    name: Annotated[SweepName, Field(description="Name of the sweep; its id is this name and the time.")]
    dataset: Dataset
    training: Training
    parameters: Annotated[
        dict[str, Parameter],
        Field(description="What is tuned, and what is compared: a constant, a range {low, high}, or {choices: [...]}."),
    ]
    compare: Compare
    search: Search
    resources: Resources
    seed: Annotated[Seed, Field(description="Seed of samplers, splits, weights and batches.")] = 1
    _signatures: Signatures = PrivateAttr(default_factory=lambda: Signatures({}))
    _remarks: Remarks = PrivateAttr(default_factory=Remarks)

    @classmethod
    def of(cls, signatures: Signatures, remarks: Remarks, **sections: Any) -> Space:
        """A space with these sections, the signatures of its losses and models, and what there is to say of how its file was read."""
        space = cls(**sections)
        space._signatures = signatures
        space._remarks = remarks
        declare(space.training.own_metrics)
        return space

    def problem(self, place: str, message: str) -> Problem:
        """``message`` about the code of the user's own at an import path, with the line and the key that name it in the file."""
        at = self._remarks.places.get(place, Problem(None, place, ""))
        return Problem(at.line, at.key, at.message + message)

    def refusal(self, problems: Sequence[Problem]) -> SpaceError:
        """The error for problems that were found once the file had been read."""
        return SpaceError(self._remarks.source, [Problem(one.line, one.key, printable(one.message)) for one in problems])

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was done to the file when it was read, in sentences."""
        return self._remarks.sentences

    @property
    def custom_code(self) -> tuple[str, ...]:
        """Import paths of the loop, or of the models and losses, that are the user's own."""
        if self.training.loop is not None:
            return (self.training.loop,)
        return tuple(path for path in dict.fromkeys((*self._signatures.models, *self._signatures.losses)) if is_import_path(path))

    @cached_property
    def architectures(self) -> tuple[Architecture, ...]:
        """The models that trials can have, each with both ends of the ranges of its arguments; none that a loop builds by itself."""
        if self.training.loop is not None:
            return ()
        return tuple(architectures(self.definitions_by_arm, self.training_settings().architecture))

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """The arms in the file's order."""
        return list_arms(self.parameters, self.compare.arms)

    def definitions(self, arm: Arm) -> tuple[Definition, ...]:
        """Every parameter that trials of ``arm`` can have, in an order in which their conditions can be decided."""
        return self.definitions_by_arm[arm.name]

    @cached_property
    def definitions_by_arm(self) -> Mapping[str, tuple[Definition, ...]]:
        """The definitions of every arm, under its name."""
        return {arm.name: define(self.parameters, self.training.constants, arm, self._signatures) for arm in self.arms}

    def training_settings(self) -> TrainingSettings:
        """What all trials of the sweep share."""
        validation = self.dataset.validation
        return TrainingSettings(
            model=self.training.default_model.path,
            epochs=self.training.epochs,
            reduction=self.training.reduction,
            augment=self.training.augment,
            validation=None if validation == "test" else validation,
            evaluate_on="test" if validation == "test" else "validation",
            backend=self.resources.backend,
            model_arguments=self.training.default_model.arguments,
            model_parameters=self.model_parameters,
            best_by=self.search.metric if self.training.select == "best" else None,
            keep=self.training.keep,
            loop=self.training.loop,
            metric=self.search.metric,
            own_metrics=tuple(self.training.metrics or ()),
        )

    @cached_property
    def model_parameters(self) -> tuple[str, ...]:
        """Names of the parameters of trials that decide about their models: ``model``, and what models are built with."""
        if self.training.loop is not None:
            return ()
        found = {name: self._signatures.owner(name, parameter.when) for name, parameter in self.parameters.items()}
        found |= {name: self._signatures.owner(name, {}) for arm in self.arms for name in (*arm.settings, *arm.ranges) if name not in found}
        return tuple(name for name, owner in found.items() if "model" in (name, owner))

    def parameter_types(self) -> dict[str, ColumnType]:
        """The type of the ``param_*`` column of every parameter that any arm can have, in the order of their first appearance."""
        types: dict[str, set[ColumnType]] = {}
        for arm in self.arms:
            for definition in self.definitions(arm):
                name = definition.name if self.training.loop is None else ""  # whatever a loop takes for a learning rate
                types.setdefault(definition.name, set()).update(_column_types(name, definition.parameter))
        return {name: found.pop() if len(found) == 1 else "float64" for name, found in types.items()}

    def is_comparable(self, metric: str) -> bool:
        """Whether values of a metric mean the same in every arm: a trial's own loss does only where all train with one and the same."""
        if metric != "val_loss" or len(self.arms) < 2:
            return True
        if self.training.loop is not None:  # which may have one loss for all
            return self.compare.arms != "loss"
        losses = [
            {each.name: each.parameter for each in self.definitions(arm) if each.name not in (*TRAINING_PARAMETERS, *self.model_parameters)}
            for arm in self.arms
        ]
        return losses.count(losses[0]) == len(losses) and all(isinstance(each, Constant) for each in losses[0].values())

    @property
    def is_tuned(self) -> bool:
        """Whether some arm has a free parameter; else a search has nothing to find."""
        return any(definition.is_free for definitions in self.definitions_by_arm.values() for definition in definitions)

    @property
    def searches(self) -> range:
        """The numbers of the searches of each arm."""
        return range(1, self.compare.searches + 1)

    def planned_trials(self, arm: Arm) -> int:
        """How many trials each search of ``arm`` has: its budget, 1 if nothing is free, no more than its grid has points."""
        definitions = self.definitions(arm)
        if not any(definition.is_free for definition in definitions):
            return 1
        budget = self.compare.trials_per_arm
        if self.search.sampler.name != "grid":
            return budget
        return sum(1 for _ in islice(iterate_grid(definitions, n_points(self.search.sampler)), budget))


_TYPES: Mapping[Kind, ColumnType] = {"int": "int64", "float": "float64", "text": "string", "bool": "bool"}


def _column_types(name: str, parameter: Parameter) -> set[ColumnType]:
    if name in TRAINING_PARAMETERS:
        return {_TYPES[TRAINING_PARAMETERS[name].kind]}
    if isinstance(parameter, FloatRange | IntRange):
        return {"float64" if isinstance(parameter, FloatRange) else "int64"}
    return {column_type(value) for value in parameter.values}


def column_type(value: Value) -> ColumnType:
    """How a value is stored."""
    return "bool" if isinstance(value, bool) else "int64" if isinstance(value, int) else "float64" if isinstance(value, float) else "string"
