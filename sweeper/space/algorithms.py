"""Samplers and pruners by name, their options checked against Optuna's own signatures and by constructing the object."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import optuna

from sweeper.records import Value
from sweeper.space.elsewhere import suggestion
from sweeper.space.schema import Algorithm
from sweeper.space.values import Finding
from sweeper.space.wording import Path
from sweeper.text import shown

_Made = TypeVar("_Made")

SAMPLERS: Mapping[str, type[optuna.samplers.BaseSampler]] = {
    "tpe": optuna.samplers.TPESampler,
    "random": optuna.samplers.RandomSampler,
    "grid": optuna.samplers.RandomSampler,  # every point of the grid is enqueued: see build_sampler
    "gp": optuna.samplers.GPSampler,
    "cmaes": optuna.samplers.CmaEsSampler,
    "qmc": optuna.samplers.QMCSampler,
}
PRUNERS: Mapping[str, type[optuna.pruners.BasePruner]] = {
    "median": optuna.pruners.MedianPruner,
    "percentile": optuna.pruners.PercentilePruner,
    "successive_halving": optuna.pruners.SuccessiveHalvingPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "patient": optuna.pruners.PatientPruner,
    "threshold": optuna.pruners.ThresholdPruner,
    "wilcoxon": optuna.pruners.WilcoxonPruner,
    "none": optuna.pruners.NopPruner,
}
OURS = frozenset({"seed", "warn_independent_sampling", "warn_asynchronous_seeding"})
"""Options that the sweep sets: the seed comes from ``seed``, and ``sweep check`` gives once the warning that every trial would give."""

PER_ARM = frozenset({"group"})
"""Options whose default is another for each arm: :func:`build_sampler` sets them where the file does not."""

LOWEST: Mapping[str, int] = {
    "n_startup_trials": 0,
    "n_ei_candidates": 1,
    "popsize": 2,
    "min_resource": 1,
    "max_resource": 1,
    "reduction_factor": 2,
    "bootstrap_count": 0,
    "points": 2,
}
"""Lowest values of options whose limits Optuna finds out in the middle of a study only."""

HIGHEST: Mapping[str, int] = {"n_ei_candidates": 10_000, "popsize": 10_000, "points": 1_000, "min_early_stopping_rate": 17}
"""Highest values of options that would fill the memory or never end; 2^17 is more epochs than a trial can have."""

MOST = 1_000_000
"""Highest value of every other option in whole numbers: as many trials as an arm can have."""


def construct(algorithm: Callable[..., _Made], options: Mapping[str, Any]) -> _Made:
    """A sampler or pruner with these options, made without Optuna's warning that some classes are experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return algorithm(**options)


def highest_value(option: str, types: set[str]) -> int | None:
    """The highest value of an option of these types; ``None`` where it takes fractions, or no numbers."""
    return HIGHEST.get(option, MOST) if "int" in types and "float" not in types else None


WITHDRAWN = frozenset(
    {"consider_prior", "prior_weight", "consider_magic_clip", "consider_endpoints", "sigma0", "restart_strategy", "inc_popsize"}
)
"""Options that Optuna still takes and warns of."""

TYPES: Mapping[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
WORDS: Mapping[str, str] = {"int": "an integer", "float": "a number", "bool": "true or false", "str": "text"}


def options_of(name: str) -> dict[str, set[str]]:
    """Names of the options of a sampler or pruner, with the names of their types; ``points`` is our own."""
    return {"points": {"int"}} if name == "grid" else option_types({**SAMPLERS, **PRUNERS}[name])


def option_types(algorithm: type) -> dict[str, set[str]]:
    """Names of the options that plain values can set, with the names of their types."""
    types = {}
    for parameter in inspect.signature(algorithm).parameters.values():
        annotation = parameter.annotation if isinstance(parameter.annotation, str) else getattr(parameter.annotation, "__name__", "")
        names = {part.strip() for part in annotation.split("|")} - {"None"}
        if names <= TYPES.keys() and names and parameter.name not in OURS | WITHDRAWN:
            types[parameter.name] = names
    return types


def parse_algorithm(raw: object, role: Literal["sampler", "pruner"], path: Path) -> tuple[Algorithm | None, list[Finding]]:
    """A sampler or pruner (``role``) as written in ``raw``, every sound option set, and what is wrong with it.

    ``None`` without a name, and for a grid that is not known.
    """
    known: Mapping[str, type] = SAMPLERS if role == "sampler" else PRUNERS
    options = {"name": raw} if isinstance(raw, str) else raw
    if not isinstance(options, dict) or "name" not in options:
        got = "its name is missing" if isinstance(options, dict) else f"got {shown(raw)}"
        off = "; to prune nothing write none" if role == "pruner" and raw in (None, False) else f"; known: {', '.join(known)}"
        return None, [Finding(path, f"must be a name or {{name: ..., options}}, {got}{off}")]
    name = options["name"]
    if not isinstance(name, str) or name not in known:
        at = path if isinstance(raw, str) else (*path, "name")
        return None, [Finding(at, f"unknown {role} {shown(name)}; {suggestion(name, known, role)}")]
    types = options_of(name)
    names = [*types, *(["wrapped"] if name == "patient" else [])]
    given: dict[str, Value] = {}
    findings: list[Finding] = []
    inner: list[Finding] = []
    wrapped: Algorithm | None = None
    for key, value in options.items():
        if key == "name":
            continue
        if key == "wrapped" and name == "patient":
            wrapped, inner = parse_algorithm(value, role, (*path, key))
        elif message := _option_problem(key, value, f"{role} '{name}'", types, names):
            findings.append(Finding((*path, key), message))
        else:
            given[key] = float(value) if types[key] == {"float"} else value
    if findings and name == "grid":
        return None, findings  # without its points nothing can be said of the grid
    algorithm = Algorithm(name=name, options={**_defaults(known[name], types), **given}, wrapped=wrapped)
    if not findings and name != "grid":
        findings += _construction_problems(known[name], algorithm, given, path)
    return algorithm, [*findings, *inner]


def _option_problem(key: str, value: object, whose: str, types: Mapping[str, set[str]], names: Sequence[str]) -> str | None:
    if key == "seed":
        return "is set by the sweep: write seed at the top level"
    if key in WITHDRAWN:
        return "is deprecated by Optuna; leave it out"
    if key not in types:
        return f"{whose} has no such option; {suggestion(key, names, 'option') if names else 'it has none'}"
    allowed = tuple(kind for type_name in types[key] for kind in TYPES[type_name])
    if (isinstance(value, bool) and bool not in allowed) or not isinstance(value, allowed):
        return f"must be {' or '.join(sorted(WORDS[type_name] for type_name in types[key]))}, got {shown(value)}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) < 2**53:
            return f"must be a finite number below 2^53, got {shown(value)}"
        if key in LOWEST and value < LOWEST[key]:
            return f"must be >= {LOWEST[key]}, got {shown(value)}"
        highest = highest_value(key, types[key])
        if highest is not None and value > highest:
            return f"must be <= {highest}, got {shown(value)}"
    return None


def _defaults(algorithm: type, types: Mapping[str, set[str]]) -> dict[str, Value]:
    signature = inspect.signature(algorithm).parameters
    defaults = {name: signature[name].default for name in types if name in signature}
    return {name: default for name, default in defaults.items() if isinstance(default, bool | int | float | str) and name not in PER_ARM}


def _construction_problems(algorithm: type, parsed: Algorithm, given: Mapping[str, Value], path: Path) -> list[Finding]:
    signature = inspect.signature(algorithm).parameters
    missing = [
        name
        for name, parameter in signature.items()
        if parameter.default is inspect.Parameter.empty and name not in (*parsed.options, "wrapped_pruner")
    ]
    if missing:
        return [Finding((*path, name), "is missing") for name in missing]
    ours = {"wrapped_pruner": None, "seed": 0}  # QMC without a seed warns
    arguments: dict[str, Any] = {**parsed.options, **{name: value for name, value in ours.items() if name in signature}}
    try:
        construct(algorithm, arguments)
    except (ValueError, TypeError) as error:
        guilty = [name for name in given if name in str(error)]
        return [Finding((*path, *guilty[:1]), f"refused by Optuna: {_sentence(error)}")]
    return []


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
