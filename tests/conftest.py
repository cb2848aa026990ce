import pytest
from attack.kill_harness import reference_sweep
from finished_sweep import run_tiny_sweep


@pytest.fixture(scope="session")
def finished_sweep(tmp_path_factory):
    """A sweep of two arms on generated images, finished, with trials pruned and confirmed. Tests must leave it as it is."""
    return run_tiny_sweep(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Folder of a sweep with a random sampler, no pruner and packs of one, and the seconds that it took. Tests must leave it as it is."""
    return reference_sweep(tmp_path_factory.mktemp("undisturbed") / "reference")
