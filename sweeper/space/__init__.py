"""YAML in, validated space out, Optuna distributions from it."""

from .advice import check_warnings
from .arms import Arm
from .dump import dump_space
from .load import load_space, parse_space, parse_stored_space
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
    "check_warnings",
    "dump_space",
    "load_space",
    "parse_space",
    "parse_stored_space",
]
