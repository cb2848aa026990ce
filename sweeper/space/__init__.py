"""YAML in, validated space out, Optuna distributions from it."""

from .advice import check_warnings
from .arms import Arm
from .dump import dump_space
from .load import load_space, parse_space, parse_stored_space
from .optuna_parts import build_pruner, build_sampler, draw, grid
from .overrides import as_override
from .schema import Choices, Compare, Constant, Dataset, FloatRange, IntRange, Parameter, Reference, Resources, Search, Training
from .space import Space

__all__ = [
    "Arm",
    "Choices",
    "Compare",
    "Constant",
    "Dataset",
    "FloatRange",
    "IntRange",
    "Parameter",
    "Reference",
    "Resources",
    "Search",
    "Space",
    "Training",
    "as_override",
    "build_pruner",
    "build_sampler",
    "check_warnings",
    "draw",
    "dump_space",
    "grid",
    "load_space",
    "parse_space",
    "parse_stored_space",
]
