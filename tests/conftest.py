import signal
from pathlib import Path

import pytest
from attack.kill_harness import reference_sweep
from finished_sweep import run_tiny_sweep

# nohup, and a shell that starts pytest in the background, leave these ignored, and what a test starts would inherit that
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

START_RAY = (
    "attack/test_real_sweep.py",
    "cli/",
    "cluster/",
    "docs/test_docs_commands.py",
    "store/test_object_storage.py",
    "test_api.py",
    "test_own_code.py",
    "tune/",
)
"""Where tests start Ray, which uses every core and is told to end within seconds, or need a sweep that was really run."""


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    """Of the two processes of pytest-xdist one takes the tests that start Ray, one by one; the other all files else, each as a whole."""
    for item in items:
        path = item.path.relative_to(Path(__file__).parent).as_posix()
        starts_ray = path.startswith(START_RAY) or {"finished_sweep", "undisturbed"} & set(item.fixturenames)
        item.add_marker(pytest.mark.xdist_group("ray" if starts_ray else path))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group").args != ("ray",))


@pytest.fixture(scope="session")
def finished_sweep(tmp_path_factory):
    """A sweep of two arms on generated images, finished, with trials pruned and confirmed. Tests must leave it as it is."""
    return run_tiny_sweep(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Folder of a sweep with a random sampler, no pruner and packs of one, and the seconds that it took. Tests must leave it as it is."""
    return reference_sweep(tmp_path_factory.mktemp("undisturbed") / "reference")
