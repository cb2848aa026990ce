import os
import pickle
import signal

import pytest
from faults.kill_harness import reference_sweep
from faults.object_storage import make_bucket, s3_server
from filelock import FileLock
from finished_sweep import run_tiny_sweep
from xdist.scheduler import LoadScopeScheduling

# nohup, and a shell that starts pytest in the background, leave these ignored, and what a test starts would inherit that
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ONE_BY_ONE = (
    "tests/cli/test_run_output.py",
    "tests/cli/test_terminal.py",
    "tests/faults/test_real_sweep.py",
    "tests/cluster/",
    "tests/tune/test_pack_size.py",
    "tests/cluster/test_ray_session.py",
)
"""Where tests start Ray, which uses every core, and tell it to end within seconds. The first makes ``finished_sweep`` for all."""

LAST = (
    "tests/cli/",
    "tests/view/",
    "tests/test_api.py",
    "tests/test_cli.py",
    "tests/studies/test_combinations.py",
    "tests/test_reproduce.py",
    "tests/store/test_object_storage.py",
    "tests/test_custom_code.py",
    "tests/tune/test_run.py",
)
"""Where tests look at ``finished_sweep``, or start Ray and do not mind another one beside it: when little else is left to do."""


class OneRayAtATime(LoadScopeScheduling):
    """Of the two processes one takes the tests of ``ONE_BY_ONE``; the other all files else, each as a whole."""

    def _split_scope(self, nodeid):
        return "ray" if nodeid.startswith(ONE_BY_ONE) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config, log):
    return OneRayAtATime(config, log)


def pytest_collection_modifyitems(items):
    """``ONE_BY_ONE`` comes first, in its order: it takes longest. ``LAST`` comes last, in its order."""
    items.sort(key=lambda item: _place(item.nodeid))


def _place(nodeid):
    for part, paths in enumerate((ONE_BY_ONE, LAST)):
        for number, path in enumerate(paths):
            if nodeid.startswith(path):
                return 2 * part, number
    return 1, 0


def once_for_all_processes(tmp_path_factory, name, make):
    """What ``make(folder)`` returns, made by the first of pytest's processes that asks for it."""
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    made = common / f"{name}.pickle"
    with FileLock(f"{made}.lock"):
        if not made.exists():
            folder = common / name
            folder.mkdir(exist_ok=True)
            made.write_bytes(pickle.dumps(make(folder)))
    return pickle.loads(made.read_bytes())


@pytest.fixture(scope="session")
def finished_sweep(tmp_path_factory):
    """A sweep of two arms on generated images, finished, with trials pruned and confirmed. Tests must leave it as it is."""
    return once_for_all_processes(tmp_path_factory, "finished", run_tiny_sweep)


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """Address of an S3 server on loopback with the bucket ``bucket``."""
    pytest.importorskip("moto.server")
    with s3_server(tmp_path_factory.mktemp("moto") / "log") as url:
        make_bucket(url)
        yield url


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Folder of a sweep with a random sampler, no pruner and packs of one, and the seconds that it took. Tests must leave it as it is."""
    return reference_sweep(tmp_path_factory.mktemp("undisturbed") / "reference")
