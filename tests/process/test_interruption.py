"""Signals and lost clusters, in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeper.process import reaper

HEAD = """
import os, signal, sys, threading, time
from sweeper.errors import StoreError
from sweeper.process import reaper, interruption
from sweeper.process.interruption import Aborted, Interrupted, abort, clear_interruption, interruptible
from sweeper.process.interruption import raise_if_interrupted, set_exit_message
def signal_soon(number=signal.SIGINT, seconds=0.2):
    threading.Timer(seconds, lambda: os.kill(os.getpid(), number)).start()
"""

HEARS_NOTHING = """
with interruptible(ends_the_process=True):
    set_exit_message("go on with: sweep resume x")
    signal_soon()
    try:
        time.sleep(20)
    except Interrupted:
        while True:
            time.sleep(1)  # deep in a library
"""


def run(code, timeout=30):
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", HEAD + code], capture_output=True, text=True, timeout=timeout, check=False)
    return done, time.monotonic() - started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_raises_and_the_later_ones_are_ignored(number):
    done, _ = run(f"""
try:
    with interruptible(), interruptible():
        try:
            signal_soon({number}); time.sleep(20)
        except Exception:
            print("swallowed")
        finally:
            os.kill(os.getpid(), {number}); time.sleep(0.2); print("in order")
except Interrupted:
    print("interrupted")
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "in order\ninterrupted\n", "")


def test_a_process_that_hears_nothing_ends_in_time_with_its_last_words():
    done, seconds = run("interruption.GRACE_SECONDS = 1.0" + HEARS_NOTHING)
    assert (done.returncode, done.stderr) == (130, "interrupted; go on with: sweep resume x\n")
    assert seconds < 10


def test_the_last_words_of_a_process_that_ran_out_of_time_are_there_when_it_has_ended(tmp_path):
    code = """
interruption.GRACE_SECONDS = 0.1
mute = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
reaper._children.append(subprocess.Popen(["sleep", "60"], **mute))
print(reaper._children[0].pid, flush=True)
"""
    with (tmp_path / "log").open("w") as log:
        started = [sys.executable, "-c", "import subprocess" + HEAD + code + HEARS_NOTHING]
        done = subprocess.run(started, stdout=subprocess.PIPE, stderr=log, timeout=30, check=False)
    os.kill(int(done.stdout), signal.SIGKILL)
    assert done.returncode == 130
    assert (tmp_path / "log").read_text() == "interrupted; go on with: sweep resume x\n"


def test_a_process_whose_main_thread_is_deep_in_compiled_code_ends_too():
    done, _ = run("""
import ctypes
interruption.GRACE_SECONDS = 1.0
with interruptible(ends_the_process=True):
    set_exit_message("saved")
    signal_soon()
    try:
        ctypes.CDLL(None).sleep(20)
        time.sleep(0)
    except Interrupted:
        ctypes.CDLL(None).sleep(20)  # gives up the interpreter's lock, as torch and Ray do
""")
    assert (done.returncode, done.stderr) == (130, "interrupted; saved\n")


def test_another_thread_can_end_the_sweep_and_is_heard_at_once():
    done, _ = run("""
try:
    with interruptible():
        set_exit_message("go on")
        threading.Timer(0.2, lambda: abort(StoreError("the cluster is gone"))).start()
        time.sleep(20)
except Aborted as aborted:
    print("aborted:", aborted.error)
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "aborted: the cluster is gone\n", "the cluster is gone\ngo on\n")


def test_an_interruption_that_a_library_turned_into_an_error_is_still_an_interruption():
    done, _ = run("""
try:
    with interruptible():
        signal_soon()
        try:
            time.sleep(20)
        except Interrupted as interrupted:
            raise SystemError("returned a result with an exception set") from interrupted
except Interrupted:
    print("interrupted")
""")
    assert (done.returncode, done.stdout) == (0, "interrupted\n")


def test_an_interruption_that_was_swallowed_is_raised_again_at_the_next_hook():
    done, _ = run("""
try:
    with interruptible():
        signal_soon()
        try:
            time.sleep(20)
        except BaseException:
            pass
        raise_if_interrupted()
except Interrupted:
    print("interrupted")
time.sleep(0.1)
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


def test_nohup_is_respected():
    done, _ = run("""
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with interruptible():
    os.kill(os.getpid(), signal.SIGHUP); time.sleep(0.1)
print("went on")
""")
    assert (done.returncode, done.stdout) == (0, "went on\n")


def test_outside_the_main_thread_signals_are_left_alone():
    done, _ = run("""
def work():
    with interruptible():
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
thread = threading.Thread(target=work); thread.start(); thread.join()
""")
    assert (done.returncode, done.stdout) == (0, "True\n")


def test_an_abort_that_was_answered_is_not_raised_again_by_the_blocks_around():
    done, _ = run("""
try:
    with interruptible():
        try:
            with interruptible():
                threading.Timer(0.2, lambda: abort(StoreError("the cluster is gone"))).start()
                time.sleep(20)
        except Aborted as aborted:
            clear_interruption()
            raise StoreError("stopped") from aborted.error
except StoreError as error:
    print(error)
""")
    assert (done.returncode, done.stdout) == (0, "stopped\n")


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(1)"])
def test_a_process_that_is_killed_or_ended_by_a_library_leaves_its_last_words(end):
    done, _ = run(f"""
with interruptible():
    set_exit_message("nothing was written")
    set_exit_message("go on with: sweep resume 'it''s 100% \\\\n saved'")
    {end}
""")
    assert done.returncode in {1, -signal.SIGKILL}
    assert done.stderr == "go on with: sweep resume 'it''s 100% \\n saved'\n"


def wait_until_gone(pid):
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_processes_that_are_left_behind_by_a_sudden_end_are_ended_and_no_others():
    done, _ = run("""
import subprocess
def sleeper(**environment):
    process = subprocess.Popen(["sleep", "60"], env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(process.pid, flush=True)
sleeper(MARK_OF_A_TEST="1"), sleeper(MARK_OF_A_TEST="11")
reaper.on_abrupt_exit(say="go on", end="MARK_OF_A_TEST=1")
os.kill(os.getpid(), signal.SIGKILL)
""")
    ours, another = map(int, done.stdout.split())
    assert done.stderr == "go on\n"
    wait_until_gone(ours)
    os.kill(another, signal.SIGKILL)  # raises if it has ended


def test_processes_of_ray_that_have_hidden_their_environment_are_known_by_their_log_files(tmp_path):
    done, _ = run(f"""
import subprocess
def agent(name, log):
    command = f"exec -a {{name}} sleep 60 >{{log}} 2>&1"
    print(subprocess.Popen(["bash", "-c", command], env={{"PATH": os.environ["PATH"]}}, stdin=subprocess.DEVNULL).pid, flush=True)
agent("ray::Agent", {str(tmp_path / "ours.log")!r}), agent("ray::Agent", "/dev/null"), agent("sleep", {str(tmp_path / "another.log")!r})
time.sleep(0.5)
reaper.on_abrupt_exit(end="MARK_OF_A_TEST=1", end_writers={str(tmp_path)!r})
os.kill(os.getpid(), signal.SIGKILL)
""")
    ours, *others = map(int, done.stdout.split())
    wait_until_gone(ours)
    for other in others:
        os.kill(other, signal.SIGKILL)  # raises if it has ended


def test_a_process_that_is_started_while_the_others_are_being_ended_is_ended_too():
    done, _ = run("""
import subprocess
forker = "for i in {1..300}; do sleep 61 & done; sleep 61"
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
process = subprocess.Popen(["bash", "-c", forker], env={**os.environ, "MARK_OF_A_TEST": "late"}, **quiet)
time.sleep(0.05)
reaper.end_processes("MARK_OF_A_TEST=late")
process.wait()
print(len(list(reaper.living_processes("MARK_OF_A_TEST=late"))))
""")
    assert done.stdout == "0\n", done.stderr


def test_the_folder_of_the_log_files_may_be_told_by_a_pattern_before_it_is_there(tmp_path):
    log = tmp_path / "session_2026_7" / "logs" / "agent.log"
    log.parent.mkdir(parents=True)
    command = f"exec -a ray::Agent sleep 60 >{log} 2>&1"
    with subprocess.Popen(["bash", "-c", command], env={"PATH": os.environ["PATH"]}) as agent:
        while not Path(f"/proc/{agent.pid}/cmdline").read_bytes().startswith(b"ray::"):
            time.sleep(0.01)
        of_another, of_this = [[pid for pid, _ in reaper.living_processes("", f"{tmp_path}/session_*_{number}")] for number in (8, 7)]
        agent.kill()
    assert agent.pid in of_this
    assert agent.pid not in of_another


def test_processes_of_ray_that_have_hidden_their_environment_are_known_by_their_parent_while_it_lives():
    done, _ = run("""
import subprocess
agent = "env -i bash -c 'echo $$; exec -a ray::Agent sleep 60 >/dev/null 2>&1' & "
raylet = "echo $$; exec sleep 60 >/dev/null 2>&1"
subprocess.Popen(["bash", "-c", agent + raylet], env={**os.environ, "MARK_OF_A_TEST": "1"})
time.sleep(0.5)
reaper.on_abrupt_exit(end="MARK_OF_A_TEST=1")
os.kill(os.getpid(), signal.SIGKILL)
""")
    for pid in map(int, done.stdout.split()):
        wait_until_gone(pid)


def test_what_was_taken_back_is_not_said():
    done, _ = run("""
with interruptible():
    set_exit_message("go on")
    reaper.stop()
""")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interruption_that_hits_a_finalizer_is_raised_again_and_nothing_is_printed():
    done, seconds = run("""
class Slow:
    def __del__(self):
        time.sleep(1)
try:
    with interruptible():
        signal_soon()
        Slow()
        time.sleep(20)
except Interrupted:
    print("interrupted")
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
    assert seconds < 5


def test_signals_that_come_together_or_once_more_end_a_command_with_130_and_its_last_words_once():
    done, _ = run("""
with interruptible(ends_the_process=True):
    set_exit_message("saved")
    with interruptible():
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
            os.kill(os.getpid(), signal.SIGTERM); os.kill(os.getpid(), signal.SIGINT)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT}); time.sleep(20)
        finally:
            os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.1)
""")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted; saved\n")


LIBRARY = """
import faulthandler, select
faulthandler.enable()
def users(number, frame): pass
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM): signal.signal(number, users)
def surroundings():
    address = interruption._CompiledHandlers.address
    compiled = {number: address(handler) for number, handler in interruption._CompiledHandlers(*signal.valid_signals())._before.items()}
    fd = signal.set_wakeup_fd(-1); signal.set_wakeup_fd(fd)
    return compiled, {each: signal.getsignal(each) for each in signal.valid_signals()}, sys.excepthook, sys.unraisablehook, fd
def as_ray_does():
    import ctypes
    for number in (signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT, signal.SIGALRM): ctypes.CDLL(None).signal(int(number), None)
    if threading.current_thread() is threading.main_thread(): signal.signal(signal.SIGUSR1, signal.SIG_DFL)
def in_a_thread(work):
    thread = threading.Thread(target=work); thread.start(); thread.join()
def work():
    try:
        with interruptible():
            as_ray_does()
            ENDS
    except BaseException as error:
        print(type(error).__name__)
readable, writable = os.pipe(); os.set_blocking(writable, False); signal.set_wakeup_fd(writable)
before = surroundings()
CALL
print(surroundings() == before)
print([thread.name for thread in threading.enumerate()])
"""


@pytest.mark.parametrize("call", ["work()", "in_a_thread(work)"])
@pytest.mark.parametrize(
    "ends", ["pass", "raise ValueError", "signal.raise_signal(signal.SIGINT)", 'abort(StoreError("gone")); time.sleep(1)']
)
def test_a_program_that_uses_the_package_finds_its_handlers_as_they_were_whatever_ends_a_block(call, ends):
    if "raise_signal" in ends and "thread" in call:
        pytest.skip("signals are the main thread's")
    done, _ = run(LIBRARY.replace("CALL", call).replace("ENDS", ends))
    raised = {"pass": "", "raise ValueError": "ValueError\n", "signal.raise_signal(signal.SIGINT)": "Interrupted\n"}.get(ends, "Aborted\n")
    assert done.stdout == f"{raised}True\n['MainThread']\n", done.stderr


def test_a_program_that_uses_the_package_is_never_ended_and_a_second_signal_is_heard_when_the_first_had_its_time():
    done, _ = run("""
interruption.GRACE_SECONDS = 0.5
try:
    with interruptible():
        signal_soon(), signal_soon(seconds=0.4), signal_soon(seconds=1.2)
        try:
            time.sleep(20)
        except Interrupted:
            began = time.monotonic(); time.sleep(20)  # a library that hears nothing
except Interrupted:
    print(0.8 < time.monotonic() - began < 5)
""")
    assert (done.returncode, done.stdout) == (0, "True\n")


def test_a_second_sweep_in_another_thread_is_refused():
    done, _ = run("""
def second():
    try:
        with interruptible(): print("let in")
    except interruption.BusyError as error:
        print(error)
with interruptible():
    thread = threading.Thread(target=second); thread.start(); thread.join()
second()
""")
    assert done.stdout == "another thread of this process is running a sweep: wait for its end, or use a process of its own\nlet in\n"


def test_what_is_found_wrong_after_the_end_of_a_sweep_disturbs_nobody():
    done, _ = run("""
with interruptible(): pass
abort(StoreError("the cluster is gone")); time.sleep(0.2)
with interruptible(): print("next")
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "next\n", "")


def test_a_handler_and_an_alarm_that_compiled_code_sets_meanwhile_end_nobody():
    done, _ = run("""
import ctypes
try:
    with interruptible(), interruption.handlers_kept():
        libc = ctypes.CDLL(None)
        libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
        libc.signal(signal.SIGTERM, None), libc.signal(signal.SIGALRM, ctypes.cast(libc.abort, ctypes.c_void_p)), libc.alarm(1)
        libc.usleep(100_000)
        os.kill(os.getpid(), signal.SIGTERM); time.sleep(20)
except Interrupted:
    time.sleep(1.2); print("interrupted")
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


def test_an_alarm_that_the_user_has_set_rings():
    done, _ = run("""
signal.signal(signal.SIGALRM, lambda number, frame: print("rings"))
signal.setitimer(signal.ITIMER_REAL, 0.3)
with interruptible(), interruption.handlers_kept():
    time.sleep(0.6)
""")
    assert (done.returncode, done.stdout) == (0, "rings\n")
