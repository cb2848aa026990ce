import signal

import pytest
from attack.kill_harness import reference_sweep
from finished_sweep import run_tiny_sweep
from xdist.scheduler import LoadScopeScheduling

# nohup, and a shell that starts pytest in the background, leave these ignored, and what a test starts would inherit that
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

START_RAY = (
    "tests/attack/test_real_sweep.py",
    "tests/cli/",
    "tests/cluster/",
    "tests/docs/test_docs_commands.py",
    "tests/look/test_status_from_outside.py",
    "tests/store/test_object_storage.py",
    "tests/test_api.py",
    "tests/test_cli.py",
    "tests/test_own_code.py",
    "tests/test_reproduce.py",
    "tests/tune/",
)
"""Where tests start Ray, which uses every core and is told to end within seconds, or need a sweep that was really run."""


class OneRayAtATime(LoadScopeScheduling):
    """Of the two processes one takes the tests that start Ray, one by one; the other all files else, each as a whole."""

    def _split_scope(self, nodeid):
        return "ray" if nodeid.startswith(START_RAY) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config, log):
    return OneRayAtATime(config, log)


def pytest_collection_modifyitems(items):
    """Those that start Ray come first: they take longest."""
    items.sort(key=lambda item: not item.nodeid.startswith(START_RAY))


@pytest.fixture(scope="session")
def finished_sweep(tmp_path_factory):
    """A sweep of two arms on generated images, finished, with trials pruned and confirmed. Tests must leave it as it is."""
    return run_tiny_sweep(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Folder of a sweep with a random sampler, no pruner and packs of one, and the seconds that it took. Tests must leave it as it is."""
    return reference_sweep(tmp_path_factory.mktemp("undisturbed") / "reference")
