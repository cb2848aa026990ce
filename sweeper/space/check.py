"""Rules between parameters, sections and arms that no section can check alone; all that are broken are found at once."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from pydantic import TypeAdapter, ValidationError

from sweeper.catalogue import LOSSES
from sweeper.records import Value

from .arms import Arm, Definition, define, list_arms, possible_values, value_name
from .grids import LARGEST_GRID, iterate_grid, n_points
from .loss_signatures import LossSignature
from .parameters import TRAINING_DOMAINS, Finding, UnfitError, fitted
from .schema import ArmChoice, ArmName, Choices, Compare, Constant, Dataset, FloatRange, IntRange, Parameter, Resources, Search, Training
from .space import DEFAULT_CONSTANTS, training_constants
from .wording import Path, listed, nearest, shown

TRAIN_IMAGES: Mapping[str, int] = {"cifar10": 50_000}
N_CLASSES = 10
ARM_NAME: TypeAdapter[str] = TypeAdapter(ArmName)


@dataclass
class Draft:
    """What could be read of a space file; a section is ``None`` where it could not.

    ``written``: the names under ``parameters``, also of those that could not be read. ``signatures``: of the losses that exist.
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


def find_problems(draft: Draft) -> Iterator[Finding]:
    """Every broken rule between the parts of ``draft``. Rules about whole arms are tried only once everything below them is sound."""
    findings = [*_training(draft), *_names(draft), *_compared(draft)]
    if draft.dataset is not None:
        findings += _dataset(draft.dataset)
    if draft.search is not None and draft.training is not None:
        findings += _pruner(draft.search, draft.training.epochs)
    yield from findings
    if not findings and draft.all_losses_known and len(draft.parameters) == len(draft.written) and draft.training and draft.compare:
        yield from _arms(draft, draft.training, draft.compare)


def _dataset(dataset: Dataset) -> Iterator[Finding]:
    path: Path = ("dataset",)
    if dataset.name in ("parquet", "imagefolder") and dataset.data_dir is None:
        yield Finding(
            (*path, "data_dir"), f"is missing: data set '{dataset.name}' is read from a folder; write data_dir or give --data-dir"
        )
    if dataset.name == "synthetic" and dataset.data_dir is not None:
        yield Finding((*path, "data_dir"), f"data set 'synthetic' is generated and reads no folder, got {shown(dataset.data_dir)}")
    if dataset.name != "synthetic":
        for key in ("train_images", "test_images"):
            if getattr(dataset, key) is not None:
                yield Finding((*path, key), f"only data set 'synthetic' has this key, and this is '{dataset.name}'")
    if isinstance(dataset.validation, str):
        return
    n_train = dataset.train_images or TRAIN_IMAGES.get(dataset.name)
    fewest = N_CLASSES if n_train else 1
    if dataset.validation < fewest:
        yield Finding((*path, "validation"), f"must be >= {fewest}, an image of each class, got {dataset.validation}")
    if n_train and dataset.validation >= n_train:
        yield Finding((*path, "validation"), f"must be < {n_train}, the training images of '{dataset.name}', got {dataset.validation}")


def _training(draft: Draft) -> Iterator[Finding]:
    if draft.training is None:
        return
    constants = training_constants(draft.training)
    for name, value in constants.items():
        try:
            fitted(value, TRAINING_DOMAINS[name])
        except UnfitError as error:
            yield Finding(("training", name), str(error))
        if name in draft.written:
            yield Finding(("parameters", name), f"stands under training too, as {shown(value)}; keep one of the two")
    given = {*constants, *draft.written, *_set_by_every_arm(draft)}
    if "learning_rate" not in given:
        yield Finding(
            ("parameters", "learning_rate"), "is missing: write a range or a constant, for example {low: 1e-4, high: 1.0, log: true}"
        )
    for name, other in (("step_size", "step_gamma"), ("step_gamma", "step_size")):
        if name in given and other not in given:
            section = "training" if name in constants else "parameters"
            yield Finding((section, name), f"does nothing without {other}; write both or neither")


def _set_by_every_arm(draft: Draft) -> set[str]:
    choices = [parameter.choices for parameter in draft.parameters.values() if isinstance(parameter, Choices)]
    arms = [[set(choice.settings) if isinstance(choice, ArmChoice) else set() for choice in entries] for entries in choices]
    return {name for settings in arms for name in set.intersection(*settings)}


def _names(draft: Draft) -> Iterator[Finding]:
    """Parameters that no loss has, conditions that cannot be decided or met, arguments that a loss needs."""
    owned = {name for signature in draft.signatures.values() for name in signature.arguments}
    for name, parameter in draft.parameters.items():
        path: Path = ("parameters", name)
        if name == "loss" or name in TRAINING_DOMAINS:
            if parameter.when:
                yield Finding(
                    (*path, "when"), f"every trial needs {name}: it cannot have a condition; give single arms a setting of their own"
                )
            continue
        findings = list(_condition(draft, name, parameter))
        yield from findings
        if not findings and draft.all_losses_known:
            yield from _ownership(draft, name, parameter, owned)
    yield from _cycles(draft.parameters)
    if draft.all_losses_known:
        yield from _needed_arguments(draft)


def _condition(draft: Draft, name: str, parameter: Parameter) -> Iterator[Finding]:
    for other, wanted in parameter.when.items():
        at: Path = ("parameters", name, "when", other)
        if other == name:
            yield Finding(at, "a parameter cannot depend on itself")
        elif other not in draft.written:
            hint = "it is a constant under training" if other in draft.constants else nearest(other, sorted(draft.written - {name}))
            yield Finding(at, f"no parameter has this name; {hint}")
        elif condition := draft.parameters.get(other):
            for value in wanted:
                if message := _impossible(draft, condition, other, value):
                    yield Finding(at, message)


def _impossible(draft: Draft, condition: Parameter, name: str, value: Value) -> str | None:
    values = possible_values(condition, name)
    if values is not None:
        if name == "loss" and (not draft.all_losses_known or value in draft.signatures):
            return None
        is_possible = any(isinstance(value, bool) == isinstance(other, bool) and value == other for other in values)
        return None if is_possible else f"{name} is never {shown(value)}; {nearest(value, values)}"
    if isinstance(condition, IntRange | FloatRange):
        if isinstance(value, bool | str):
            return f"{name} is a number and never {shown(value)}"
        if condition.step is None:
            return f"{name} is a continuous range and never exactly {shown(value)}; a condition needs choices, type: int or a step"
        steps = (value - condition.low) / condition.step
        if not condition.low <= value <= condition.high or abs(steps - round(steps)) >= 1e-8:
            return f"{name} is never {shown(value)}: it goes from {condition.low} to {condition.high} in steps of {condition.step}"
    return None


def _allowed_losses(draft: Draft, name: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """The losses under which the condition of ``name``, and the conditions of what it depends on, can hold."""
    allowed = set(draft.signatures)
    parameter = draft.parameters.get(name)
    for other, wanted in parameter.when.items() if parameter is not None else ():
        if other == "loss":
            allowed &= {str(value) for value in wanted}
        elif other not in seen:
            allowed &= _allowed_losses(draft, other, seen | {name})
    return allowed


def _ownership(draft: Draft, name: str, parameter: Parameter, owned: set[str]) -> Iterator[Finding]:
    allowed = _allowed_losses(draft, name)
    owners = {loss for loss, signature in draft.signatures.items() if name in signature.arguments}
    if "loss" in parameter.when:
        owners |= {loss for loss, signature in draft.signatures.items() if signature.takes_any}
    strangers = [loss for loss in draft.signatures if loss in allowed - owners]
    path: Path = ("parameters", name)
    if not allowed or not strangers:
        return
    if owners & allowed:
        if "loss" in parameter.when:
            yield Finding((*path, "when", "loss"), f"loss {listed(strangers)} has no parameter '{name}'")
            return
        written = ", ".join(loss for loss in draft.signatures if loss in owners)
        wanted = written if len(owners) == 1 else f"[{written}]"
        plainly = f"write {{value: ..., when: {{loss: {wanted}}}}}" if isinstance(parameter, Constant) else f"add when: {{loss: {wanted}}}"
        yield Finding(path, f"loss {listed(strangers)} has no such parameter; {plainly}")
        return
    elsewhere = [loss for loss, entry in LOSSES.items() if name in entry.parameters]
    if elsewhere:
        yield Finding(path, f"belongs to loss {listed(elsewhere)}, which {'is' if len(elsewhere) == 1 else 'are'} not meant here")
        return
    known = sorted({own for loss in strangers for own in draft.signatures[loss].arguments} or owned) + list(TRAINING_DOMAINS)
    losses = f"loss {listed(strangers)}" if len(strangers) == 1 else f"the losses {listed(strangers)}"
    yield Finding(path, f"no parameter of {losses} has this name; {nearest(name, known)}")


def _cycles(parameters: Mapping[str, Parameter]) -> Iterator[Finding]:
    """One finding per cycle, at the parameter of it that stands first in the file."""
    told: set[str] = set()
    for start in parameters:
        trail = _way_back(parameters, start)
        if trail and start not in told:
            told.update(trail)
            if len(trail) > 1:
                yield Finding(("parameters", start, "when"), f"conditions form a cycle: {' -> '.join([*trail, start])}")


def _way_back(parameters: Mapping[str, Parameter], start: str) -> list[str]:
    """The shortest chain of conditions that leads from ``start`` back to it, ``start`` first; empty if none does."""
    trails = [[start]]
    seen: set[str] = set()
    while trails:
        trail = trails.pop(0)
        for other in parameters[trail[-1]].when if trail[-1] in parameters else ():
            if other == start:
                return trail
            if other not in seen:
                seen.add(other)
                trails.append([*trail, other])
    return []


def _needed_arguments(draft: Draft) -> Iterator[Finding]:
    by_arms = _set_by_every_arm(draft)
    for loss, signature in draft.signatures.items():
        for name, argument in signature.arguments.items():
            if not argument.is_required or name in by_arms:
                continue
            if name not in draft.written:
                message = f"loss {shown(loss)} needs '{name}', which has no default: add it here with when: {{loss: {shown(loss)}}}"
                yield Finding(("parameters",), message)
            elif name in draft.parameters and set(draft.parameters[name].when) - {"loss"}:
                message = f"loss {shown(loss)} always needs it, for it has no default: its only condition can be loss"
                yield Finding(("parameters", name, "when"), message)


def _compared(draft: Draft) -> Iterator[Finding]:
    """``compare.arms`` names choices; arms' names are fit for files and differ; only the compared parameter has arms."""
    compared = draft.compare.arms if draft.compare else None
    at: Path = ("compare", "arms")
    if compared is not None and compared not in draft.written:
        yield Finding(at, f"no parameter is called {shown(compared)}; {nearest(compared, sorted(draft.written))}")
    elif compared is not None and isinstance(draft.parameters.get(compared), FloatRange | IntRange):
        yield Finding(at, f"{compared} is a range; arms need {{choices: [...]}}")
    elif compared in draft.parameters and draft.parameters[compared].when:
        yield Finding(at, f"{compared} exists under a condition only; every arm needs it")
    for name, parameter in draft.parameters.items():
        if not isinstance(parameter, Choices):
            continue
        if name == compared:
            yield from _arm_names(parameter, ("parameters", name, "choices"))
            continue
        for index, choice in enumerate(parameter.choices):
            if isinstance(choice, ArmChoice):
                message = f"a choice with settings is an arm, which needs compare: {{arms: {name}}}"
                yield Finding(("parameters", name, "choices", index), message)


def _arm_names(parameter: Choices, path: Path) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for index, choice in enumerate(parameter.choices):
        name = choice.name if isinstance(choice, ArmChoice) else value_name(choice)
        at = (*path, index, "name") if isinstance(choice, ArmChoice) else (*path, index)
        try:
            ARM_NAME.validate_python(name)
        except ValidationError as error:
            yield Finding(at, f"{error.errors()[0]['ctx']['message']}; write {{name: ..., {path[1]}: ...}} for a name of your choice")
        folded = unicodedata.normalize("NFKC", name).casefold()
        if folded in seen:
            same = "the same name" if seen[folded] == name else f"a name that some file systems cannot tell from {shown(seen[folded])}"
            yield Finding(at, f"two arms have {same}, got {shown(name)}")
        for other in (folded.removesuffix("-confirm"), f"{folded}-confirm"):
            if other != folded and other in seen:
                yield Finding(at, f"trials of arms {listed([seen[other], name])} would have the same names; choose another")
        seen.setdefault(folded, name)


def _pruner(search: Search, epochs: int) -> Iterator[Finding]:
    pruner, path = search.pruner, ("search", "pruner")
    while True:
        options = pruner.options
        lowest = options.get("min_resource")
        if isinstance(lowest, int) and lowest > epochs:
            yield Finding((*path, "min_resource"), f"must be <= training.epochs, which is {epochs}, got {lowest}")
        highest = options.get("max_resource")
        if isinstance(highest, int) and isinstance(lowest, int) and highest < lowest:
            yield Finding((*path, "max_resource"), f"must be >= min_resource, which is {lowest}, got {highest}")
        if pruner.wrapped is None:
            return
        pruner, path = pruner.wrapped, (*path, "wrapped")


def _arms(draft: Draft, training: Training, compare: Compare) -> Iterator[Finding]:
    constants = {**DEFAULT_CONSTANTS, **training_constants(training)}
    constants = {name: value for name, value in constants.items() if name not in draft.parameters}
    arms = list_arms(draft.parameters, compare.arms)
    findings = [finding for index, arm in enumerate(arms) for finding in _settings(draft, arm, _arm_path(compare, index))]
    definitions = {arm.name: define(draft.parameters, constants, arm) for arm in arms}
    findings += _unequal_defaults(draft, definitions, compare)
    if not findings:
        findings += _alike(definitions, compare)
    yield from findings
    if compare.reference is not None:
        for name in compare.reference.test_accuracy:
            if name not in definitions:
                yield Finding(("compare", "reference", "test_accuracy", name), f"no arm has this name; {nearest(name, definitions)}")
    if draft.resources is not None and draft.resources.pack != 1:
        yield from _one_batch_size(definitions)
    if draft.search is not None and draft.search.sampler.name == "grid" and not findings:
        yield from _grids(draft.search, definitions)


def _arm_path(compare: Compare, index: int) -> Path:
    return ("parameters", compare.arms, "choices", index) if compare.arms else ("parameters",)


def _settings(draft: Draft, arm: Arm, path: Path) -> Iterator[Finding]:
    """Settings of an arm that its loss does not have."""
    fixed = {**draft.parameters, **{name: Constant(value=value) for name, value in arm.settings.items()}}
    losses = [str(loss) for loss in possible_values(fixed["loss"], "loss") or ()]
    for name in (*arm.settings, *arm.ranges):
        if name == "loss" or name in TRAINING_DOMAINS:
            continue
        if any(name in draft.signatures[loss].arguments or draft.signatures[loss].takes_any for loss in losses):
            continue
        known = [own for loss in losses for own in draft.signatures[loss].arguments] + list(TRAINING_DOMAINS)
        yield Finding((*path, name), f"loss {listed(losses)} has no parameter '{name}'; {nearest(name, known)}")


def _unequal_defaults(draft: Draft, definitions: Mapping[str, tuple[Definition, ...]], compare: Compare) -> Iterator[Finding]:
    """One study can hold one default of a parameter, so two losses of one arm that differ in it must be told apart in the file."""
    kinds: dict[str, set[str]] = {}
    for index, found in enumerate(definitions.values()):
        losses = next((possible_values(one.parameter, "loss") or () for one in found if one.name == "loss"), ())
        for definition in found:
            owners = [draft.signatures[str(loss)].arguments.get(definition.name) for loss in losses]
            defaults = {repr(argument.default) for argument in owners if argument is not None}
            if definition.name not in draft.parameters and len(defaults) > 1:
                message = f"losses of one study have different defaults of '{definition.name}'; write it under parameters"
                yield Finding(_arm_path(compare, index), message)
            values = possible_values(definition.parameter, definition.name)
            kinds.setdefault(definition.name, set()).update(_family(value) for value in (values if values is not None else (0.0,)))
    for name, families in kinds.items():
        if len(families) > 1:
            yield Finding(("parameters", name), f"holds {' in one arm and '.join(sorted(families))} in another; one column cannot")


def _family(value: Value) -> str:
    return "true or false" if isinstance(value, bool) else "text" if isinstance(value, str) else "numbers"


def _alike(definitions: Mapping[str, tuple[Definition, ...]], compare: Compare) -> Iterator[Finding]:
    seen: list[tuple[str, dict[str, object]]] = []
    for index, (name, found) in enumerate(definitions.items()):
        content: dict[str, object] = {
            definition.name: (definition.parameter.model_dump(exclude={"when"}), definition.when) for definition in found
        }
        twin = next((other for other, settings in seen if settings == content), None)
        if twin is not None:
            yield Finding(_arm_path(compare, index), f"arm '{name}' has the same settings as arm '{twin}'; two arms must differ")
        seen.append((name, content))


def _one_batch_size(definitions: Mapping[str, tuple[Definition, ...]]) -> Iterator[Finding]:
    sizes = {value for found in definitions.values() for one in found if one.name == "batch_size" for value in _sizes(one)}
    if len(sizes) != 1:
        message = "members of a pack share their batches: pack must be 1 while batch_size differs between trials"
        yield Finding(("resources", "pack"), message)


def _sizes(definition: Definition) -> tuple[Value, ...]:
    values = possible_values(definition.parameter, definition.name)
    return values if values is not None else (-1, -2)


def _grids(search: Search, definitions: Mapping[str, tuple[Definition, ...]]) -> Iterator[Finding]:
    points = n_points(search.sampler)
    for name, found in definitions.items():
        for definition in found:
            parameter = definition.parameter
            if isinstance(parameter, FloatRange) and parameter.step is None and not points:
                message = f"'{definition.name}' is continuous: give it a step or choices, or write sampler: {{name: grid, points: 5}}"
                yield Finding(("search", "sampler"), message)
                return
        if sum(1 for _ in islice(iterate_grid(found, points), LARGEST_GRID + 1)) > LARGEST_GRID:
            yield Finding(("search", "sampler"), f"the grid of arm '{name}' has more than {LARGEST_GRID:,} points; use another sampler")
            return
