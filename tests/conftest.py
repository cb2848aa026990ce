import pytest
from finished_sweep import run_tiny_sweep


@pytest.fixture(scope="session")
def finished_sweep(tmp_path_factory):
    """A sweep of two arms on generated images, finished, with trials pruned and confirmed. Tests must leave it as it is."""
    return run_tiny_sweep(tmp_path_factory.mktemp("finished"))
