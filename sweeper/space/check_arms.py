"""Rules about the compared arms: names fit for files, settings that exist, no duplicates, feasible grids."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from itertools import islice

from pydantic import TypeAdapter, ValidationError

from sweeper.catalogue import TRAINING_PARAMETERS
from sweeper.custom_code import is_import_path
from sweeper.records import Phase, trial_name
from sweeper.space.arms import LOSS, MODEL, Arm, Definition, define, list_arms, possible_owners, possible_values, value_name
from sweeper.space.check_conditions import both_have, not_of
from sweeper.space.configurations import LARGEST_GRID, iterate_grid, n_points
from sweeper.space.draft import Draft
from sweeper.space.schema import ArmChoice, ArmName, Choices, Compare, Constant, FloatRange, IntRange, Search, Training
from sweeper.space.values import Finding, family
from sweeper.space.wording import Path
from sweeper.text import listed, nearest, shown

ARM_NAME: TypeAdapter[str] = TypeAdapter(ArmName)


def compared_problems(draft: Draft) -> Iterator[Finding]:
    """``compare.arms`` names choices; arms' names are fit for files and differ; only the compared parameter has arms."""
    compared = draft.compare.arms if draft.compare else None
    at: Path = ("compare", "arms")
    if compared is not None and draft.written and compared not in draft.written:
        yield Finding(at, f"no parameter is called {shown(compared)}; {nearest(compared, sorted(draft.written))}")
    elif compared is not None and isinstance(draft.parameters.get(compared), FloatRange | IntRange):
        yield Finding(at, f"{compared} is a range; arms need {{choices: [...]}}")
    elif compared in draft.parameters and draft.parameters[compared].when:
        yield Finding(at, f"{compared} exists under a condition only; every arm needs it")
    for name, parameter in draft.parameters.items():
        if not isinstance(parameter, Choices):
            continue
        if name == compared:
            yield from _arm_names(draft, parameter, name)
            continue
        for index, choice in enumerate(parameter.choices):
            if isinstance(choice, ArmChoice):
                message = f"a choice with settings is an arm, which needs compare: {{arms: {name}}}"
                yield Finding(draft.choice_path(name, index), message)


def _arm_names(draft: Draft, parameter: Choices, compared: str) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    owners: dict[str, str] = {}
    searches = range(1, (draft.compare.searches if draft.compare else 1) + 1)
    for index, choice in enumerate(parameter.choices):
        name = choice.name if isinstance(choice, ArmChoice) else value_name(choice)
        at: Path = (*draft.choice_path(compared, index), *(["name"] if isinstance(choice, ArmChoice) else []))
        try:
            ARM_NAME.validate_python(name)
        except ValidationError as error:
            yield Finding(at, f"{error.errors()[0]['ctx']['message']}; write {{name: ..., {compared}: ...}} for a name of your choice")
        folded = unicodedata.normalize("NFKC", name).casefold()
        if folded in seen:
            same = "the same name" if seen[folded] == name else f"a name that some file systems cannot tell from {shown(seen[folded])}"
            yield Finding(at, f"two arms have {same}, got {shown(name)}")
        stems = {trial_name(folded, search, phase, 0) for search in searches for phase in Phase}
        if other := next((owners[stem] for stem in stems if owners.get(stem, folded) != folded), None):
            yield Finding(at, f"trials of arms {listed([seen[other], name])} would have the same names; choose another")
        owners |= dict.fromkeys(stems, folded)
        seen.setdefault(folded, name)


def arm_problems(draft: Draft, training: Training, compare: Compare) -> Iterator[Finding]:
    """What is wrong with the arms as wholes. Everything in ``draft`` must be sound by itself."""
    constants = draft.completed(training).constants
    arms = list_arms(draft.parameters, compare.arms)
    findings = [finding for index, arm in enumerate(arms) for finding in _settings(draft, arm, _arm_path(draft, compare, index))]
    definitions = {arm.name: define(draft.parameters, constants, arm, draft.owners) for arm in arms}
    findings += [*_unequal_defaults(draft, definitions, compare), *_unsmoothed(draft, definitions, compare)]
    if not findings:
        findings += _alike(draft, definitions, compare)
    yield from findings
    is_tuned = any(definition.is_free for found in definitions.values() for definition in found)
    if "searches" in compare.model_fields_set and compare.searches > 1 and not is_tuned:
        message = f"must be 1: no arm has a free parameter to search; repeat compare.seeds instead, got {compare.searches}"
        yield Finding(("compare", "searches"), message)
    if compare.reference is not None:
        for name in compare.reference.test_accuracy:
            if name not in definitions:
                yield Finding(("compare", "reference", "test_accuracy", name), f"no arm has this name; {nearest(name, definitions)}")
    if draft.search is not None and draft.search.sampler.name == "grid" and not findings:
        yield from _grids(draft.search, definitions)


def _arm_path(draft: Draft, compare: Compare, index: int) -> Path:
    if compare.arms is None:
        return ("parameters",)
    is_one = isinstance(draft.parameters[compare.arms], Constant)
    return ("parameters", compare.arms) if is_one else draft.choice_path(compare.arms, index)


def _settings(draft: Draft, arm: Arm, path: Path) -> Iterator[Finding]:
    """Settings of an arm that neither its loss nor its model has."""
    if draft.has_loop:
        return
    fixed = {**draft.parameters, **{name: Constant(value=value) for name, value in arm.settings.items()}}
    losses, models = (possible_owners(fixed, owner, draft.owners) for owner in (LOSS, MODEL))
    for name in (*arm.settings, *arm.ranges):
        if name in TRAINING_PARAMETERS and (reason := draft.does_nothing(name, arm.settings)):
            yield Finding((*path, name), reason)
        if name in (LOSS, MODEL, *TRAINING_PARAMETERS):
            continue
        if any(signature.has(name) for signature in (*losses.values(), *models.values())):
            yield from both_have(draft, name, (*path, name))
        else:
            yield Finding((*path, name), not_of(list(losses), name, draft.owners))


def _unequal_defaults(draft: Draft, definitions: Mapping[str, tuple[Definition, ...]], compare: Compare) -> Iterator[Finding]:
    """One study can hold one default of a parameter, so two losses of one arm that differ in it must be told apart in the file."""
    kinds: dict[str, set[str]] = {}
    for index, found in enumerate(definitions.values()):
        losses = next((possible_values(one.parameter, "loss") or () for one in found if one.name == "loss" and not draft.has_loop), ())
        for definition in found:
            owners = [draft.signatures[str(loss)].arguments.get(definition.name) for loss in losses]
            defaults = {repr(argument.default) for argument in owners if argument is not None}
            if definition.name not in draft.parameters and len(defaults) > 1:
                message = f"losses of one study have different defaults of '{definition.name}'; write it under parameters"
                yield Finding(_arm_path(draft, compare, index), message)
            values = possible_values(definition.parameter, definition.name)
            kinds.setdefault(definition.name, set()).update(family(value) for value in (values if values is not None else (0.0,)))
    for name, families in kinds.items():
        if len(families) > 1:
            yield Finding(("parameters", name), f"holds {' in one arm and '.join(sorted(families))} in another; one column cannot")


def _unsmoothed(draft: Draft, definitions: Mapping[str, tuple[Definition, ...]], compare: Compare) -> Iterator[Finding]:
    """Losses whose targets cannot be smoothed beside a ``label_smoothing`` that is not 0, told once for each place of it."""
    if draft.has_loop:
        return
    name = "label_smoothing"
    place: Path | None = ("training", name) if name in draft.written_training else ("parameters", name) if name in draft.written else None
    found: dict[Path, str] = {}
    for index, parameters in enumerate({one.name: one.parameter for one in arm} for arm in definitions.values()):
        if name not in parameters or not any(possible_values(parameters[name], name) or (1,)):
            continue
        for loss in map(str, possible_values(parameters["loss"], "loss") or ()):
            if loss == name:
                reason = f"loss {loss} smooths by its own parameter smoothing; keep one of the two"
            elif is_import_path(loss) and name not in draft.signatures[loss].training:
                reason = f"loss {shown(loss)} is given labels, and no targets to be smoothed; let it take {name}, or leave this out"
            else:
                continue
            found.setdefault(place or (*_arm_path(draft, compare, index), name), reason)
    yield from (Finding(path, reason) for path, reason in found.items())


def _alike(draft: Draft, definitions: Mapping[str, tuple[Definition, ...]], compare: Compare) -> Iterator[Finding]:
    seen: list[tuple[str, dict[str, object]]] = []
    for index, (name, found) in enumerate(definitions.items()):
        content: dict[str, object] = {
            definition.name: (definition.parameter.model_dump(exclude={"when"}), definition.when) for definition in found
        }
        twin = next((other for other, settings in seen if settings == content), None)
        if twin is not None:
            yield Finding(_arm_path(draft, compare, index), f"arm '{name}' has the same settings as arm '{twin}'; two arms must differ")
        seen.append((name, content))


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
