"""The steps by name, and the process of one: ``python -m benchmarks.gpu.steps NAME RUN``, which ``python -m benchmarks.gpu`` starts."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.gpu.run import Run


@dataclass(frozen=True, slots=True)
class Step:
    """``share``: of the time that is left, beside the shares of the steps behind it; in seconds of a whole run of 540.

    ``place``: module and function, imported by the step's process alone: all of them together take seconds.
    """

    place: str
    share: float

    def measure(self, run: Run) -> None:
        """Measure, and record what is found."""
        module, _, function = self.place.partition(":")
        getattr(importlib.import_module(f"benchmarks.gpu.{module}"), function)(run)


STEPS: Mapping[str, Step] = {
    "machine": Step("machine:measure", 30),
    "epochs": Step("epochs:measure", 110),
    "agreement": Step("agreement:curves", 45),
    "notebook": Step("peers:notebook", 35),
    "sweep": Step("sweeps:focal", 105),
    "stock_tune": Step("peers:stock_tune", 60),
    "accuracy": Step("agreement:accuracies", 60),
    "checkpoints": Step("worker:measure", 35),
    "large_sweep": Step("sweeps:large", 60),
}
"""In the order in which they run: what matters most comes first."""


def main() -> None:
    """Run the step that the command line names."""
    name, text = sys.argv[1:]
    warnings.filterwarnings("ignore", category=FutureWarning)
    STEPS[name].measure(Run.from_json(text))


if __name__ == "__main__":
    main()
