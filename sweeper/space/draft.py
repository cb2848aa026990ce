"""A space file read section by section: what each holds, and every mistake that it makes by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias, TypeVar

from sweeper.catalogue import ALWAYS_RECORDED, LOSSES, TRAINING_PARAMETERS, Domain
from sweeper.custom_code import LossSignature, is_import_path
from sweeper.errors import Problem
from sweeper.records import ONLY_SEARCH, Value
from sweeper.space.arms import Signatures, possible_values
from sweeper.space.elsewhere import as_parameter
from sweeper.space.keys import unknown_key
from sweeper.space.parameters import conditions_of, parse_parameter
from sweeper.space.schema import (
    MANY_SEARCHES,
    Algorithm,
    ArmChoice,
    Choices,
    Compare,
    Condition,
    Constant,
    Dataset,
    Parameter,
    Resources,
    Search,
    Section,
    Seed,
    SweepName,
    Training,
)
from sweeper.space.signatures import (
    UnusableError,
    check_loop,
    listed_values,
    loss_signature,
    model_signature,
    signature_as_written,
)
from sweeper.space.space import Remarks, Space
from sweeper.space.values import Finding, common_domain, validated
from sweeper.space.wording import Path
from sweeper.space.yaml_lines import Document
from sweeper.text import listed, nearest, shown

MAIN_KEYS = {"dataset": "name", "compare": "arms", "search": "sampler", "training": "model"}
"""What a text is likely to be meant as where a whole section is expected."""

CustomCode: TypeAlias = Literal["run", "refuse", "unseen"]
"""What is done about losses and models by import path: import them, refuse them, or take them, samplers and pruners too, as written."""

AnySection = TypeVar("AnySection", bound=Section)


class _Head(Section):
    """The two plain keys at the top level."""

    name: SweepName = "unnamed"
    seed: Seed = 1


class Draft:
    """What could be read of a space file; a section is ``None`` where it could not. Mistakes go to the document's problems.

    ``written``, ``written_training``: the names under ``parameters`` and ``training``, also of those that could not be read.
    ``signatures``: of the losses that exist. ``models``: of the models, without what ``training.model`` gives one.
    ``places``: of code of the user's own, by import path.
    ``unread_conditions``: of the parameters that could not be read, by name.
    """

    def __init__(self, document: Document, custom_code: CustomCode) -> None:
        self._document = document
        self._data: dict[str, Any] = document.data
        self._custom_code = custom_code
        self._told: set[Path] = set()
        self._positions: dict[str, list[int]] = {}
        self.signatures: dict[str, LossSignature] = {}
        self.models: dict[str, LossSignature] = {}
        self.all_losses_known = True
        self.places: dict[str, Problem] = {}
        self.parameters: dict[str, Parameter] = {}
        self.unread_conditions: dict[str, Condition] = {}
        self._unknown_and_missing_keys()
        self.dataset = self._section("dataset", Dataset) if "dataset" in self._data else None
        self.training = self._section("training", Training)
        if self.training is not None and self.training.loop is not None:
            self._check_loop(self.training.loop)
        self.compare = self._section("compare", Compare)
        self.resources = self._section("resources", Resources)
        self.search = self._search()
        self._read_parameters()
        if self.resources and self.resources.backend == "fused" and (own := next(filter(is_import_path, self.models), None)):
            message = f"fused trains the convnet alone, and training.model is {own}; take auto or operators"
            self.report([Finding(("resources", "backend"), message)])
        head = {key: self._data[key] for key in ("name", "seed") if key in self._data}
        self.report(validated(_Head, head, ())[1])

    def space(self, remarks: Remarks) -> Space:
        """The space of a document without problems, with what there is to say of how it was read."""
        training = self.completed(self.training) if self.training else None
        sections = {"dataset": self.dataset, "compare": self.compare, "search": self.search, "resources": self.resources}
        head = {"name": self._data["name"], "seed": self._data.get("seed", 1)}
        space = Space.of(self.owners, remarks, **head, **sections, training=training, parameters=self.parameters)
        # what an earlier version stored names no number: it searched every arm once
        is_repeated = self._custom_code != "unseen" and len(space.arms) > 1 and space.is_tuned
        return space.model_copy(update={"compare": space.compare.completed(MANY_SEARCHES if is_repeated else ONLY_SEARCH)})

    def report(self, findings: Iterable[Finding]) -> None:
        """Add findings to the document's problems, without what is said of the same place already, or cannot be known of it."""
        for finding in findings:
            is_told = finding.path in self._told and finding.message.startswith("is missing")
            if not is_told and not self._document.is_refused(finding.path):
                self._told.add(finding.path)
                self._document.problems.append(self._document.problem(finding.path, finding.message, finding.at))

    @property
    def written(self) -> frozenset[str]:
        raw = self._data.get("parameters")
        return frozenset(raw) if isinstance(raw, dict) else frozenset()

    @property
    def written_training(self) -> frozenset[str]:
        raw = self._data.get("training")
        return frozenset(name for name, value in raw.items() if value is not None) if isinstance(raw, dict) else frozenset()

    @property
    def has_loop(self) -> bool:
        """Whether a training loop of the user's own is named, to which all parameters belong."""
        return "loop" in self.written_training

    @property
    def constants(self) -> dict[str, Value]:
        """The training parameters that are constants under ``training``."""
        return self.training.constants if self.training else {}

    def training_values(self, name: str, arm: Mapping[str, Value] | None = None) -> tuple[Value, ...]:
        """What a parameter of training with a few values can be, in all arms, or in the one with these settings."""
        if arm is not None and name in arm:
            return (arm[name],)
        found: list[Value] = [self.constants[name]] if name in self.constants else []
        for key, parameter in self.parameters.items():
            if key == name:
                found += possible_values(parameter, name) or ()
            elif isinstance(parameter, Choices) and arm is None:
                settings = [choice.settings.get(name) for choice in parameter.choices if isinstance(choice, ArmChoice)]
                found += [setting.value for setting in settings if isinstance(setting, Constant)]
        default = TRAINING_PARAMETERS[name].default
        is_given = name in {*self.constants, *self.written, *(self.set_by_every_arm() if arm is None else ())}
        return tuple(found) if is_given or default is None else (*found, default)

    def does_nothing(self, name: str, arm: Mapping[str, Value] | None = None) -> str | None:
        """Why a parameter of training has no effect beside the values of another, in any arm or in the one with these settings."""
        for other, wanted in TRAINING_PARAMETERS[name].when.items():
            if wanted not in (values := self.training_values(other, arm)):
                return f"does nothing beside {other} {listed([str(value) for value in values])}: it belongs to {other} {wanted}"
        return None

    def completed(self, training: Training) -> Training:
        """The section with the defaults of what the file does not tune and what has an effect: beside a loop nothing has."""
        if self.has_loop:
            return training
        return training.completed({*self.parameters, *filter(self.does_nothing, ALWAYS_RECORDED)})

    def choice_path(self, name: str, index: int) -> Path:
        """The position in the file of choice ``index`` of those that could be read."""
        return ("parameters", name, "choices", self._positions[name][index])

    def set_by_every_arm(self) -> set[str]:
        """Parameters that every choice of some parameter sets, and that need no value elsewhere."""
        choices = [parameter.choices for parameter in self.parameters.values() if isinstance(parameter, Choices)]
        arms = [[set(choice.settings) if isinstance(choice, ArmChoice) else set() for choice in entries] for entries in choices]
        return {name for settings in arms for name in set.intersection(*settings)}

    def _unknown_and_missing_keys(self) -> None:
        known = list(Space.model_fields)
        self.report(Finding((key,), f"unknown key; {unknown_key(key, '', known)}") for key in self._data if key not in known)
        self.report(Finding((key,), "is missing") for key in ("name", "dataset", "parameters") if key not in self._data)

    def _section(self, key: str, model: type[AnySection]) -> AnySection | None:
        raw = self._data.get(key)
        section, findings = validated(model, {} if raw is None and key != "dataset" else raw, (key,))
        if isinstance(raw, str) and key in MAIN_KEYS:
            findings = [Finding((key,), f"must be a mapping of keys to values, got {shown(raw)}; write {key}: {{{MAIN_KEYS[key]}: {raw}}}")]
        self.report(findings)
        return section

    def _check_loop(self, path: str) -> None:
        """Look up a training loop of the user's own, as far as that can be done without images."""
        self.places[path] = self._document.problem(("training", "loop"), "")
        try:
            self._signature(path, check_loop, LossSignature({}))
        except UnusableError as error:
            self.report([Finding(("training", "loop"), str(error))])

    @property
    def owners(self) -> Signatures:
        """What the losses and models of the file may be configured with."""
        return Signatures(self.signatures, self.models, self.training.default_model.path if self.training else "")

    def _look_up_models(self, raw: Mapping[str, Any]) -> None:
        """Look up every model that is named anywhere, as far as that can be done without images."""
        named = _named("model", raw)
        chosen = self.training.default_model if self.training is not None and "model" not in raw else None
        if chosen is not None:
            named.insert(0, (("training", "model"), chosen.path))
        for path, model in named:
            if model in self.models:
                continue
            self.places[model] = self._document.problem(path, "")
            try:
                signature = self._signature(model, model_signature, LossSignature({}, takes_any=True))
            except UnusableError as error:
                self.all_losses_known = False
                self.report([Finding(path, str(error))])
                continue
            given = chosen.arguments if chosen is not None and chosen.path == model else {}
            for name in given:
                if not signature.has(name):
                    known = f"; {nearest(name, signature.arguments)}" if signature.arguments else ""
                    self.report([Finding(("training", "model", name), f"{shown(model)} has no parameter of this name{known}")])
            own = {name: argument for name, argument in signature.arguments.items() if name not in given}
            self.models[model] = replace(signature, arguments=own)

    def _signature(self, path: str, look_up: Callable[[str], LossSignature], unseen: LossSignature) -> LossSignature:
        """What a loss, model or loop may be configured with; ``unseen`` for code of the user's own that is not to be run."""
        if is_import_path(path) and self._custom_code == "refuse":
            raise UnusableError(f"{shown(path)} is code of your own, which --no-custom-code refuses to run")
        return unseen if is_import_path(path) and self._custom_code == "unseen" else look_up(path)

    def _search(self) -> Search | None:
        raw = self._data.get("search")
        if raw is not None and not isinstance(raw, dict):
            return self._section("search", Search)  # reports that it is no mapping
        section = dict(raw or {})
        roles: tuple[tuple[Literal["sampler", "pruner"], str], ...] = (("sampler", "tpe"), ("pruner", "median"))
        for role, default in roles:
            algorithm, findings = self._algorithm(section.pop(role, default), role)
            self.report(findings)
            section |= {role: algorithm} if algorithm else {}
        search, findings = validated(Search, section, ("search",))
        self.report(findings)
        return search

    def _algorithm(self, raw: object, role: Literal["sampler", "pruner"]) -> tuple[Algorithm | None, list[Finding]]:
        if self._custom_code == "unseen":  # Optuna was asked when the sweep began, and may know other options by now
            return validated(Algorithm, Algorithm.in_parts(raw), ("search", role))
        from sweeper.space.algorithms import parse_algorithm  # Optuna: a tenth of the time of a report, which has no use for it

        return parse_algorithm(raw, role, ("search", role))

    def _read_parameters(self) -> None:
        raw = self._data.get("parameters")
        if not self.has_loop:
            self._look_up_models(raw if isinstance(raw, dict) else {})
        if not isinstance(raw, dict):
            if "parameters" in self._data:
                self.report([Finding(("parameters",), f"must be a mapping of keys to values, got {shown(raw)}")])
            self.all_losses_known = False
            return
        if not self.has_loop:
            self._look_up_losses(raw)
        if "loss" not in raw and not self.has_loop:
            self.all_losses_known = False
            self.report([Finding(("parameters", "loss"), f"is missing: write one of {', '.join(LOSSES)}, or {{choices: [...]}} of them")])
        for name, value in raw.items():
            parameter, findings = parse_parameter(value, name, ("parameters", name), self._domain)
            self.report(findings)
            if parameter is None:
                self.unread_conditions[name] = conditions_of(value)
                continue
            self.parameters[name] = parameter
            if isinstance(parameter, Choices):
                faulty = {finding.path[3] for finding in findings if finding.path[2:3] == ("choices",) and len(finding.path) > 3}
                self._positions[name] = [index for index in range(len(value["choices"])) if index not in faulty]
        self.all_losses_known = self.all_losses_known and ("loss" in self.parameters or self.has_loop)
        self._fit_conditions()

    def _look_up_losses(self, raw: Mapping[str, Any]) -> None:
        """Look up every loss that is named anywhere, before the parameters that may belong to one."""
        for path, loss in _named("loss", raw):
            if loss in self.signatures:
                continue
            self.places[loss] = self._document.problem(path, "")
            try:
                self.signatures[loss] = self._signature(loss, loss_signature, signature_as_written(raw))
            except UnusableError as error:
                self.all_losses_known = False
                here = as_parameter(loss)
                self.report([Finding(path, f"is written {here} here, got {shown(loss)}" if here else str(error))])

    def _domain(self, name: str) -> Domain:
        if self.has_loop:
            return Domain("any")
        if name in ("loss", "model"):
            return Domain("text")
        if name in TRAINING_PARAMETERS:
            return TRAINING_PARAMETERS[name]
        signatures = [*self.signatures.values(), *self.models.values(), *([] if self.all_losses_known else map(loss_signature, LOSSES))]
        return common_domain(signature.arguments[name] for signature in signatures if name in signature.arguments)

    def _fit_conditions(self) -> None:
        """Put the values of conditions in the type of the parameter they are about, so that 1 finds 1.0."""
        for name, parameter in self.parameters.items():
            when: Condition = {}
            for other, wanted in parameter.when.items():
                kind = self._domain(other).kind
                when[other] = tuple(float(value) if kind == "float" and type(value) is int else value for value in wanted)
            if when:
                self.parameters[name] = parameter.model_copy(update={"when": when})


def _named(owner: str, raw: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """Every loss, or model, under ``parameters`` with its place: a constant, a choice, a setting of an arm."""
    found: list[tuple[Path, Any]] = []
    for name, parameter in raw.items():
        path: Path = ("parameters", name)
        if not isinstance(parameter, dict):
            found += [(path, parameter)] if name == owner else []
            continue
        if name == owner:
            found.append(((*path, "value"), parameter.get("value")))
        for index, choice in enumerate(listed_values(parameter.get("choices"))):
            if isinstance(choice, dict):
                found.append(((*path, "choices", index, owner), choice.get(owner)))
            elif name == owner:
                found.append(((*path, "choices", index), choice))
    return [(path, name) for path, name in found if isinstance(name, str)]
