import signal

import pytest
from attack.kill_harness import reference_sweep
from finished_sweep import run_tiny_sweep

# nohup, and a shell that starts pytest in the background, leave these ignored, and what a test starts would inherit that
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def finished_sweep(tmp_path_factory):
    """A sweep of two arms on generated images, finished, with trials pruned and confirmed. Tests must leave it as it is."""
    return run_tiny_sweep(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Folder of a sweep with a random sampler, no pruner and packs of one, and the seconds that it took. Tests must leave it as it is."""
    return reference_sweep(tmp_path_factory.mktemp("undisturbed") / "reference")
