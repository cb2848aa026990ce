from pathlib import Path

import pytest
from sweeps import searched


@pytest.fixture
def finished_search(tmp_path: Path) -> Path:
    """A results folder with one sweep whose search is done and whose confirm phase has not begun."""
    searched(tmp_path).done()
    return tmp_path


@pytest.fixture
def confirmed(tmp_path: Path) -> Path:
    """A results folder with one finished sweep: focal ahead of cross_entropy on every seed, l1 far behind."""
    builder = searched(tmp_path)
    builder.confirm("l1", [0.30, 0.31, 0.29, 0.30, 0.32, 0.28, 0.30, 0.31], learning_rate=0.9)
    builder.confirm("cross_entropy", [0.570, 0.571, 0.575, 0.569, 0.573, 0.572, 0.570, 0.574], learning_rate=0.0123456789)
    builder.confirm("focal", [0.580, 0.590, 0.584, 0.579, 0.583, 0.588, 0.581, 0.582], learning_rate=0.03, gamma=0.1)
    builder.done()
    return tmp_path
