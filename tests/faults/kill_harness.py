"""Kills a running sweep at random moments, resumes it, and checks that nothing was lost or doubled.

    python tests/faults/kill_harness.py --rounds 25 --seed 1
    python tests/faults/kill_harness.py --rounds 6 --seed 2 --mixed

Every round starts a sweep of its own, kills the driver, a worker, or Ray's raylet, GCS or agent with SIGKILL, or ends the driver with one
SIGTERM or two, once or twice, resumes, and compares the result with that of a sweep that nobody disturbed: bit by bit, but for times.
``--mixed``: every round has a sampler, a pruner, a pack size and a limit of failures of its own. What such a sweep chooses depends on which
trial ended first, so it is checked to be whole, and not compared. Takes about 25 s a round on two idle cores.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
import weakref
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # a script's own folder is first otherwise
sys.path.insert(0, str(ROOT / "tests"))

from forked_python import fast_python  # noqa: E402

from faults.invariants import check_equal, check_sweep  # noqa: E402
from sweeper.cluster import ray_agent  # noqa: E402
from sweeper.process.reaper import living_processes  # noqa: E402

SPACE = """
name: kill
dataset: {name: synthetic, train_images: 600, test_images: 200, validation: 200}
training: {epochs: 4, batch_size: 32}
parameters:
  loss: {choices: [l1, cross_entropy]}
  learning_rate: {low: 1e-3, high: 1.0, log: true}
compare: {arms: loss, searches: 2, trials_per_arm: 3, seeds: 1}
search: {sampler: random, pruner: none}
resources: {pack: PACK, max_failures: 5}
seed: 7
"""
SAMPLERS = ("random", "tpe", "cmaes")
PRUNERS = ("none", "median", "{name: percentile, percentile: 50.0}", "{name: successive_halving, min_resource: 1, reduction_factor: 2}")
PACKS = (1, 2, 3, "auto")
PROCESSES = {"worker": "ray::", "raylet": "raylet/raylet", "gcs_server": "gcs/gcs_server", "agent": f"-S\0{ray_agent.__file__}"}
TERMINATED = ("terminated", "terminated twice", "terminated while Ray starts", "terminated while Ray stops")
"""The driver is sent SIGTERM; it has to end with 130, and to say how to go on."""
TARGETS = ("driver", *PROCESSES, *TERMINATED)
MARK = "SWEEPER_KILL_HARNESS"
SECONDS_TO_END = 60.0
"""Longest time a driver may take to end after its Ray was killed, and anybody's processes after their driver."""


@dataclass
class Run:
    """A sweep's process, and all processes that it started: they inherit its mark, or keep their logs in its Ray's folder."""

    process: subprocess.Popen
    mark: str
    log: Path
    ray_folder: Path

    @property
    def output(self):
        return self.log.read_text()

    def pids(self, name=""):
        """Living processes of this run whose command line holds ``name``."""
        return [pid for pid, command in self.living() if name.encode() in command]

    def living(self):
        """Process id and command line of each living process of this run."""
        return list(living_processes(f"{MARK}={self.mark}", str(self.ray_folder)))


def start(arguments, log, process_group=None, program=sys.executable, **environment):
    """A started ``sweep ARGUMENTS``; ``program`` is the Python that runs it. One that is killed or interrupted is a fresh one."""
    mark, ray_folder = uuid.uuid4().hex, Path(tempfile.mkdtemp(prefix="ray-"))  # short: the paths of Ray's sockets begin with it
    with log.open("ab") as file:
        process = subprocess.Popen(
            [program, "-m", "sweeper", *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            process_group=process_group,
            env={**os.environ, MARK: mark, "RAY_TMPDIR": str(ray_folder), "PYTHONPATH": str(ROOT), **environment},
        )
    run = Run(process, mark, log, ray_folder)
    weakref.finalize(run, shutil.rmtree, ray_folder, ignore_errors=True)
    return run


def finish(run, timeout=300):
    """The exit code of a run left to itself; an error if it hangs."""
    try:
        return run.process.wait(timeout)
    except subprocess.TimeoutExpired:
        kill_all(run)
        raise AssertionError(f"the run hangs:\n{run.output}") from None


def kill_all(run):
    for pid in run.pids():
        kill(pid)
    run.process.wait()


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def strike(run, target, after):
    """Kill one process of a run, or terminate it, ``after`` seconds; returns what was hit, "nothing" if the run had ended."""
    deadline = time.monotonic() + after
    begins = {
        "terminated while Ray starts": lambda: run.pids("gcs/gcs_server"),
        "terminated while Ray stops": lambda: " ended: " in run.output,
    }
    if target in begins:
        deadline = time.monotonic() + after / 8 if _comes(run, begins[target]) else 0.0
    while time.monotonic() < deadline:
        if run.process.poll() is not None:
            return "nothing"
        time.sleep(min(0.05, max(0.0, deadline - time.monotonic())))
    if target in TERMINATED:
        if run.process.poll() is not None:
            return "nothing"
        for _ in range(2 if target == "terminated twice" else 1):
            run.process.terminate()
            time.sleep(random.uniform(0.0, 0.5))
        return target
    while target != "driver":
        pids = run.pids(PROCESSES[target])
        if pids and kill(random.choice(pids)):
            return target
        if run.process.poll() is not None:
            return "nothing"
        time.sleep(0.05)
    run.process.kill()
    return "driver"


def _comes(run, sign):
    """Wait until ``sign()`` is true; false if the run ends before."""
    while not sign():
        if run.process.poll() is not None:
            return False
        time.sleep(0.02)
    return True


def wait_until_gone(run):
    """All processes of a run end by themselves; an error if one does not."""
    deadline = time.monotonic() + SECONDS_TO_END
    while left := run.living():
        if time.monotonic() > deadline:
            lines = [command.replace(b"\0", b" ").decode(errors="replace")[:100] for _, command in left]
            kill_all(run)
            raise AssertionError(f"left over after {SECONDS_TO_END:g} s: {lines}\n{run.output}")
        time.sleep(0.1)


def space_file(folder, pack=1, searches=2, sampler="random", pruner="none", max_failures=5):
    folder.mkdir(parents=True)
    space = SPACE.replace("PACK", str(pack)).replace("sampler: random", f"sampler: {sampler}").replace("pruner: none", f"pruner: {pruner}")
    space = space.replace("max_failures: 5", f"max_failures: {max_failures}").replace("searches: 2", f"searches: {searches}")
    (folder / "space.yaml").write_text(space)


def reference_sweep(folder, pack=1, searches=2):
    """An undisturbed sweep below ``folder``: its folder, and the seconds that it took."""
    space_file(folder, pack, searches)
    started = time.monotonic()
    run = start(["run", str(folder / "space.yaml"), "--results", str(folder / "results")], folder / "log")
    assert finish(run) == 0, run.output
    (sweep,) = (folder / "results").iterdir()
    check_sweep(sweep)
    return sweep, time.monotonic() - started


def kill_round(folder, reference, seconds, chance, pack=1, targets=(), searches=2, **options):
    """One round with one or two kills; returns what was hit. Raises ``AssertionError`` if anything was lost, doubled or changed.

    ``targets``: what is killed, a name of ``TARGETS`` for each kill; chosen at random where none is given. A sweep that ends before its
    first kill is checked as well, and does not count: the next one is hit earlier. ``options``: those of :func:`space_file`; a sweep with
    any is not compared with ``reference``.
    """
    for number in range(10):
        hits = kill_once(folder / str(number), reference, seconds * 0.7**number, chance, pack, targets, searches, options)
        if hits != ["nothing"]:
            return hits
    raise AssertionError(f"no sweep was hit before its end, in {number + 1} tries")


def kill_once(folder, reference, seconds, chance, pack, targets, searches, options):
    space_file(folder, pack, searches, **options)
    arguments = ["run", str(folder / "space.yaml"), "--results", str(folder / "results")]
    hits = []
    n_kills = len(targets) or chance.randint(1, 2)
    for attempt in range(n_kills + 1):
        last = attempt == n_kills or (attempt and hits[-1] == "nothing")
        run = start(arguments, folder / f"log-{attempt}", program=fast_python() if last else sys.executable)
        target = "nothing" if last else targets[attempt] if targets else chance.choice(TARGETS)
        hit = target if last else strike(run, target, chance.uniform(0.05, 1.0) * seconds)
        hits.append(hit)
        code = finish(run, SECONDS_TO_END if hit in {"raylet", "gcs_server", "agent"} else 300)
        output = run.output
        with run.log.open("a") as log:
            log.write(f"[hit: {hit}, exit code {code}]\n")
        assert "Traceback (most recent" not in output, output
        began = bool(list(folder.glob("results/*/sweep.yaml")))
        if hit in {"nothing", "worker"}:
            assert code in ({0, 1} if options.get("max_failures") == 0 else {0}), f"exit {code}\n{output}"  # 1: a trial has failed
        elif hit in TERMINATED:
            whole = "\nResults: " in output  # then nothing but the interpreter's own end is left; before the first line it is Python's too
            assert code in ({130, 0, -signal.SIGTERM} if whole else {130} if output else {130, -signal.SIGTERM}), f"exit {code}\n{output}"
            if code == 130:
                assert "interrupted" in output, output
                assert "sweep resume" in output or not began or arguments[0] == "resume", output
        elif hit != "driver" and code != 0:
            assert code in {1, 2}, f"exit {code}\n{run.output}"
            assert "sweep resume" in run.output or not began, run.output
        wait_until_gone(run)
        sweeps = [path.parent for path in folder.glob("results/*/sweep.yaml")]
        arguments = ["resume", str(sweeps[0])] if sweeps else arguments
        if code == 0:
            break
    (sweep,) = sweeps
    check_sweep(sweep)
    if not options:
        check_equal(sweep, reference)
    return hits


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pack", type=int, default=1)
    parser.add_argument("--mixed", action="store_true")
    parser.add_argument("--searches", type=int, default=2)
    options = parser.parse_args()
    random.seed(options.seed)
    failures, hits = 0, Counter()
    with tempfile.TemporaryDirectory(prefix="kill-harness-") as scratch:
        reference, seconds = reference_sweep(Path(scratch) / "reference", options.pack, options.searches)
        say(f"undisturbed: {seconds:.1f} s")
        for number in range(1, options.rounds + 1):
            started = time.monotonic()
            round_chance = random.Random(f"{options.seed}-{number}")
            pack, mixed = options.pack, {}
            if options.mixed:
                pack = round_chance.choice(PACKS)
                mixed = {
                    "sampler": round_chance.choice(SAMPLERS),
                    "pruner": round_chance.choice(PRUNERS),
                    "max_failures": round_chance.choice((5, 5, 0)),
                }
            try:
                hit = kill_round(Path(scratch) / str(number), reference, seconds, round_chance, pack, searches=options.searches, **mixed)
                hits.update(hit)
                said = f"nothing lost, nothing doubled {mixed | {'pack': pack} if mixed else ''}"
            except AssertionError as error:
                failures += 1
                hit, said = [], f"FAILED: {error}"
            say(f"round {number:2}: {', '.join(hit)}: {said} ({time.monotonic() - started:.0f} s)")
    say(f"{options.rounds - failures} of {options.rounds} rounds resumed whole; hits: {dict(hits)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
