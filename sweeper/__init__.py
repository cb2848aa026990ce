"""sweeper: which loss trains this network best, once every loss has had its own fair share of tuning?

``sweeper.run("space.yaml")`` runs a sweep, ``sweeper.open("results/ID")`` reads one. Both load torch, Ray and Optuna when they are first
used: ``import sweeper`` alone loads nothing.
"""

import sys
from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["Sweep", "Trial", "__version__", "open", "resume", "run"]


def __getattr__(name: str) -> Any:
    if name == "Trial":  # what a training loop of the user's own is given: without Ray
        return import_module("sweeper.training.trial").Trial
    if name in __all__:
        hook = sys.excepthook
        api = import_module("sweeper.api")
        sys.excepthook = hook  # Ray puts its own there when it is imported, which tells a cluster what ended its driver
        return getattr(api, name)
    raise AttributeError(f"module 'sweeper' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
