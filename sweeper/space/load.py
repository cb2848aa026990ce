"""A space file to a :class:`Space`: text, overrides, sections, rules; every mistake is reported at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Literal, TypeAlias

from sweeper.catalogue import LOSSES
from sweeper.custom_code import is_import_path
from sweeper.errors import Problem, SpaceError
from sweeper.space.as_written import algorithm_as_written, listed_values, signature_as_written
from sweeper.space.check import find_problems
from sweeper.space.draft import Draft
from sweeper.space.keys import unknown_key
from sweeper.space.loss_signatures import Argument, LossError, LossSignature, ModelPathError, check_model, loss_signature
from sweeper.space.overrides import apply_overrides, leave_out_unreachable
from sweeper.space.parameters import (
    ANYTHING,
    TEXT,
    TRAINING_DOMAINS,
    Domain,
    Finding,
    as_parameter,
    common_domain,
    conditions_of,
    fitted,
    parse_parameter,
    validated,
)
from sweeper.space.schema import Algorithm, Choices, Compare, Condition, Dataset, Parameter, Resources, Search, Section, SweepName, Training
from sweeper.space.space import DEFAULT_CONSTANTS, Remarks, Seed, Space, training_constants
from sweeper.space.wording import Path
from sweeper.space.yaml_lines import MAX_BYTES, Document, read_yaml
from sweeper.text import printable, shown

MAIN_KEYS = {"dataset": "name", "compare": "arms", "search": "sampler", "training": "model"}
"""What a text is likely to be meant as where a whole section is expected."""

CustomCode: TypeAlias = Literal["run", "refuse", "unseen"]
"""What is done about losses and models by import path: import them, refuse them, or take them, samplers and pruners too, as written."""


def load_space(path: str | FilePath, overrides: Sequence[str] = (), *, allow_custom_code: bool = True) -> Space:
    """The space in the file ``path``, with single fields replaced by ``key=value`` overrides.

    A loss or model by import path is imported, which runs the user's code, unless ``allow_custom_code`` is false: then it is refused.

    Raises:
        SpaceError: the file cannot be read, or breaks rules; the message lists all of them with their lines.
    """
    source = str(path)
    try:
        with FilePath(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 text: byte 0x{content[error.start]:02x} at position {error.start}; save the file as UTF-8"
        raise _refusal(source, [Problem(line, "", message)]) from None
    except FileNotFoundError:
        raise _refusal(source, [Problem(None, "", "no such file")]) from None
    except IsADirectoryError:
        raise _refusal(source, [Problem(None, "", "is a folder; give a space file in it")]) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _refusal(source, [Problem(None, "", f"cannot be read: {reason}")]) from None
    return parse_space(text, source, overrides, allow_custom_code=allow_custom_code)


def parse_space(text: str, source: str, overrides: Sequence[str] = (), *, allow_custom_code: bool = True) -> Space:
    """As :func:`load_space`, from text; ``source`` names it in messages.

    Raises:
        SpaceError: the text breaks rules; the message lists all of them with their lines.
    """
    return _parse(text, source, overrides, "run" if allow_custom_code else "refuse")


def parse_stored_space(text: str, source: str) -> Space:
    """The space of a sweep that has begun, from what :func:`dump_space` wrote. Code of the user's own is neither run nor looked for.

    Its losses have the parameters that the text gives them; their silent defaults are not known. Its sampler and pruner have the options
    that the text gives them; Optuna is not asked.

    Raises:
        SpaceError: as :func:`parse_space`.
    """
    return _parse(text, source, (), "unseen")


def _parse(text: str, source: str, overrides: Sequence[str], custom_code: CustomCode) -> Space:
    document = read_yaml(text)
    if not document.problems and not isinstance(document.data, dict):
        got = "it is empty; it needs name, dataset and parameters" if document.data is None else f"got {shown(document.data)}"
        document.problems.append(document.problem((), f"a space file is a mapping of keys to values, {got}"))
    if not isinstance(document.data, dict):
        raise _refusal(source, document.problems)
    apply_overrides(document, overrides)
    left_out = leave_out_unreachable(document)
    reader = _Reader(document, custom_code)
    space = reader.space()
    if document.problems or space is None:
        raise _refusal(source, document.problems)
    return space.remarked(Remarks(left_out, printable(source), reader.places))


def _refusal(source: str, problems: Iterable[Problem]) -> SpaceError:
    """The error for all problems; whatever of the file or of other libraries is quoted in them, a terminal only prints it."""
    return SpaceError(printable(source), [Problem(one.line, printable(one.key), printable(one.message)) for one in problems])


class _Reader:
    """Turns one document into sections, collecting problems on the way."""

    def __init__(self, document: Document, custom_code: CustomCode) -> None:
        self.document = document
        self.data: dict[str, Any] = document.data
        self.custom_code = custom_code
        self.signatures: dict[str, LossSignature] = {}
        self.all_losses_known = True
        self.positions: dict[str, list[int]] = {}
        self.unread_conditions: dict[str, Condition] = {}
        self.told: set[Path] = set()
        self.places: dict[str, Problem] = {}

    def space(self) -> Space | None:
        """The space, or ``None`` when the document has problems."""
        self._unknown_and_missing_keys()
        dataset = self._section("dataset", Dataset)
        training = self._section("training", Training)
        if training is not None and is_import_path(training.model):
            self._own_model(training.model)
        compare = self._section("compare", Compare)
        resources = self._section("resources", Resources)
        search = self._search()
        parameters, written = self._parameters()
        head, findings = validated(_Head, {key: self.data[key] for key in ("name", "seed") if key in self.data}, ())
        self._report(findings)
        constants = training_constants(training) if training else {}
        written_training = self.data["training"] if isinstance(self.data.get("training"), dict) else {}
        draft = Draft(
            dataset=dataset,
            training=training,
            compare=compare,
            search=search,
            resources=resources,
            parameters=parameters,
            written=written,
            signatures=self.signatures,
            all_losses_known=self.all_losses_known,
            constants=constants,
            written_training=frozenset(name for name, value in written_training.items() if value is not None),
            positions=self.positions,
            unread_conditions=self.unread_conditions,
        )
        self._report(find_problems(draft))
        if self.document.problems or not (dataset and training and compare and resources and search and head):
            return None
        silent = {name: value for name, value in DEFAULT_CONSTANTS.items() if name not in parameters}
        constants = {name: fitted(value, TRAINING_DOMAINS[name]) for name, value in {**silent, **constants}.items()}
        return Space.of(
            self.signatures,
            name=self.data["name"],
            dataset=dataset,
            training=training.model_copy(update=constants),
            parameters=parameters,
            compare=compare,
            search=search,
            resources=resources,
            seed=self.data.get("seed", 1),
        )

    def _report(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            is_told = finding.path in self.told and finding.message.startswith("is missing")
            if not is_told and not self.document.is_refused(finding.path):
                self.told.add(finding.path)
                self.document.problems.append(self.document.problem(finding.path, finding.message, finding.at))

    def _unknown_and_missing_keys(self) -> None:
        known = list(Space.model_fields)
        self._report(Finding((key,), f"unknown key; {unknown_key(key, '', known)}") for key in self.data if key not in known)
        self._report(Finding((key,), "is missing") for key in ("name", "dataset", "parameters") if key not in self.data)

    def _section(self, key: str, model: type[Any]) -> Any:
        if key == "dataset" and key not in self.data:
            return None
        raw = self.data.get(key)
        section, findings = validated(model, {} if raw is None and key != "dataset" else raw, (key,))
        if isinstance(raw, str) and key in MAIN_KEYS:
            findings = [Finding((key,), f"must be a mapping of keys to values, got {shown(raw)}; write {key}: {{{MAIN_KEYS[key]}: {raw}}}")]
        self._report(findings)
        return section

    def _own_model(self, path: str) -> None:
        """Look up a model of the user's own, as far as that can be done without images."""
        self.places[path] = self.document.problem(("training", "model"), "")
        try:
            if self.custom_code == "refuse":
                raise ModelPathError(f"{shown(path)} is code of your own, which --no-custom-code refuses to run")
            if self.custom_code == "run":
                check_model(path)
        except ModelPathError as error:
            self._report([Finding(("training", "model"), str(error))])

    def _search(self) -> Search | None:
        raw = self.data.get("search")
        if raw is None:
            raw = {}
        if not isinstance(raw, dict):
            return self._section("search", Search)  # type: ignore[no-any-return]  # reports that it is no mapping
        plain = {key: value for key, value in raw.items() if key not in ("sampler", "pruner")}
        roles: tuple[tuple[Literal["sampler", "pruner"], str], ...] = (("sampler", "tpe"), ("pruner", "median"))
        for role, default in roles:
            algorithm, findings = self._algorithm(raw.get(role, default), role)
            self._report(findings)
            plain |= {role: algorithm} if algorithm else {}
        search, findings = validated(Search, plain, ("search",))
        self._report(findings)
        return search

    def _algorithm(self, raw: object, role: Literal["sampler", "pruner"]) -> tuple[Algorithm | None, list[Finding]]:
        if self.custom_code == "unseen":
            return algorithm_as_written(raw, ("search", role))
        from sweeper.space.algorithms import parse_algorithm  # Optuna: a tenth of the time of a report, which has no use for it

        return parse_algorithm(raw, role, ("search", role))

    def _parameters(self) -> tuple[dict[str, Parameter], frozenset[str]]:
        raw = self.data.get("parameters")
        if not isinstance(raw, dict):
            if "parameters" in self.data:
                self._report([Finding(("parameters",), f"must be a mapping of keys to values, got {shown(raw)}")])
            self.all_losses_known = False
            return {}, frozenset()
        self._losses(raw)
        if "loss" not in raw:
            self.all_losses_known = False
            self._report([Finding(("parameters", "loss"), f"is missing: write one of {', '.join(LOSSES)}, or {{choices: [...]}} of them")])
        parameters = {}
        for name, value in raw.items():
            parameter, findings = parse_parameter(value, name, ("parameters", name), self._domain)
            self._report(findings)
            if parameter is not None:
                parameters[name] = parameter
            else:
                self.unread_conditions[name] = conditions_of(value)
            if isinstance(parameter, Choices):
                faulty = {finding.path[3] for finding in findings if finding.path[2:3] == ("choices",) and len(finding.path) > 3}
                self.positions[name] = [index for index in range(len(value["choices"])) if index not in faulty]
        self.all_losses_known = self.all_losses_known and "loss" in parameters
        return self._with_fitted_conditions(parameters), frozenset(raw)

    def _losses(self, raw: Mapping[str, Any]) -> None:
        """Look up every loss that is named anywhere, before the parameters that may belong to one."""
        for path, loss in _named_losses(raw):
            if loss in self.signatures:
                continue
            self.places[loss] = self.document.problem(path, "")
            try:
                if is_import_path(loss) and self.custom_code == "refuse":
                    raise LossError(f"{shown(loss)} is code of your own, which --no-custom-code refuses to run")
                is_unseen = is_import_path(loss) and self.custom_code == "unseen"
                self.signatures[loss] = signature_as_written(raw) if is_unseen else loss_signature(loss)
            except LossError as error:
                self.all_losses_known = False
                here = as_parameter(loss)
                self._report([Finding(path, f"is written {here} here, got {shown(loss)}" if here else str(error))])

    def _domain(self, name: str) -> Domain:
        if name == "loss":
            return TEXT
        if name in TRAINING_DOMAINS:
            return TRAINING_DOMAINS[name]
        signatures = [*self.signatures.values(), *([] if self.all_losses_known else map(loss_signature, LOSSES))]
        arguments: list[Argument] = [signature.arguments[name] for signature in signatures if name in signature.arguments]
        return common_domain(arguments) if arguments else ANYTHING

    def _with_fitted_conditions(self, parameters: dict[str, Parameter]) -> dict[str, Parameter]:
        """Conditions with their values in the type of the parameter they are about, so that 1 finds 1.0."""
        fitted_parameters: dict[str, Parameter] = {}
        for name, parameter in parameters.items():
            when: Condition = {}
            for other, wanted in parameter.when.items():
                kind = self._domain(other).kind
                when[other] = tuple(float(value) if kind == "float" and type(value) is int else value for value in wanted)
            fitted_parameters[name] = parameter.model_copy(update={"when": when})
        return fitted_parameters


class _Head(Section):
    """The two plain keys at the top level."""

    name: SweepName = "unnamed"
    seed: Seed = 1


def _named_losses(raw: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """Every loss under ``parameters`` with its place: a constant, a choice, a setting of an arm."""
    found: list[tuple[Path, Any]] = []
    for name, parameter in raw.items():
        path: Path = ("parameters", name)
        if not isinstance(parameter, dict):
            found += [(path, parameter)] if name == "loss" else []
            continue
        if name == "loss":
            found.append(((*path, "value"), parameter.get("value")))
        choices = parameter.get("choices")
        for index, choice in enumerate(listed_values(choices)):
            if isinstance(choice, dict):
                found.append(((*path, "choices", index, "loss"), choice.get("loss")))
            elif name == "loss":
                found.append(((*path, "choices", index), choice))
    return [(path, loss) for path, loss in found if isinstance(loss, str)]
