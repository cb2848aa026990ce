"""Python processes that start in hundredths of a second, with everything imported that a command imports: seconds, in a fresh one.

:func:`fast_python` is a program to be called like ``sys.executable``. It asks a server, which has imported the package and forks itself,
for a process with its arguments, environment, folder and open files, hands on its signals, and ends as that process ends. A Ray that is
started by such a process, or after :func:`fast_ray_workers`, starts its workers in the same way.

A fresh interpreter, ``sys.executable``, is for tests of what happens while modules are imported, of terminals, and of processes that are
found by what ``/proc`` says of them.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import types
from pathlib import Path

FOLDER = "FORKED_PYTHON"
"""Environment variable in which processes find the server of the one that started them."""

CLIENT = """#!{python} -IS
import json, os, signal, socket, struct, sys
arguments = sys.argv[1:]
if {for_ray}:  # what Ray's own setup_worker.py does
    (made,) = (json.loads(each.partition("=")[2]) for each in arguments if each.startswith("--serialized-runtime-env-context="))
    assert not made["command_prefix"] and not made["override_worker_entrypoint"] and made["py_executable"] == {python!r}, made
    os.environ.update(made["env_vars"])
    arguments = [each for each in arguments if not each.startswith(("--serialized-runtime-env-context=", "--language="))]
is_open = []
for descriptor in range(3):
    try:
        is_open.append(bool(os.fstat(descriptor)))
    except OSError:
        is_open.append(False)
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
request = json.dumps([arguments, {whole_end}, os.getcwd(), dict(os.environ), os.nice(0), is_open]).encode()
socket.send_fds(server, [struct.pack("I", len(request))], [descriptor for descriptor in range(3) if is_open[descriptor]])
server.sendall(request)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _: server.sendall(bytes([number])))
(code,) = struct.unpack("i", server.recv(4, socket.MSG_WAITALL))
if code < 0:
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def fast_python(*, whole_end=False):
    """Path of the program.

    With ``whole_end`` the interpreter ends as it always does, and takes the imported modules apart: half a second.

    The program is Python itself where processes cannot be forked so, and where coverage is measured, which counts from a process's start.
    """
    if sys.platform != "linux" or any(name.startswith("COVERAGE_PROCESS") for name in os.environ):
        return sys.executable
    return str(_server() / ("whole" if whole_end else "python"))


def fast_ray_workers():
    """Have every Ray that this process starts from now on start its workers the same way."""
    if fast_python() != sys.executable:
        _ray_workers_from(_server())


def _ray_workers_from(folder):
    from ray._private import ray_constants

    from sweeper.cluster import ray_internals

    ray_internals.WORKER = str(folder / "setup_worker.py")
    ray_constants.SETUP_WORKER_FILENAME = ray_internals.WORKER  # Ray joins this to a path, which an absolute one replaces


def _server():
    """The folder of the programs, and of the sockets at which a server listens: one for this process and its children, ended with it."""
    if FOLDER in os.environ:
        return Path(os.environ[FOLDER])
    folder = tempfile.TemporaryDirectory(prefix="python-")  # short: the path of a socket has at most 108 characters
    path = Path(folder.name)
    for name, server in (("python", "commands"), ("whole", "commands"), ("setup_worker.py", "workers")):
        text = CLIENT.format(python=sys.executable, address=str(path / server), whole_end=name == "whole", for_ray=server == "workers")
        (path / name).write_text(text)
        (path / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = subprocess.Popen(
        [sys.executable, __file__, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    assert server.stdout.readline() == b"listening\n"
    server.stdout.close()
    atexit.register(folder.cleanup)
    atexit.register(server.stdin.close)
    os.environ[FOLDER] = folder.name
    return path


def _serve(folder):
    """Arguments of the process that this one has become, and whether its end is whole. The servers themselves never return."""
    sockets = {name: socket.socket(socket.AF_UNIX) for name in ("commands", "workers")}
    for name, listening in sockets.items():
        listening.bind(str(folder / name))
        listening.listen(64)
    os.write(1, b"listening\n")
    with open(os.devnull, "w") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _import_all_modules("sweeper.training", "sweeper.data", "sweeper.store", "sweeper.driver")
    importlib.import_module("sweeper.training.cpu.kernels").compile_kernels(32, 32)  # once for all, if not in Numba's cache yet
    # as it is imported, Ray reads from the environment which job its process works for: each forked worker imports it by itself
    assert "ray" not in sys.modules
    listening = sockets["workers"]
    if os.fork() == 0:
        _import_all_modules("sweeper")
        _ray_workers_from(folder)
        listening = sockets["commands"]
    gc.freeze()
    while True:
        ready, _, _ = select.select([listening, 0], [], [])
        if 0 in ready:
            os._exit(0)
        connection, _ = listening.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in sockets.values():
                each.close()
            return _attend(connection)
        connection.close()


def _import_all_modules(*packages):
    for package in packages:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def _attend(connection):
    """Fork what the client asks for; returns its wishes in the new process, and never in this one, which passes signals and the end."""
    size, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
    request = connection.recv(*struct.unpack("I", size), socket.MSG_WAITALL)
    arguments, whole_end, folder, environment, niceness, is_open = json.loads(request)
    process = os.fork()
    if process == 0:
        connection.close()
        _take_over(descriptors, is_open)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        os.nice(niceness - os.nice(0))
        os.setpgid(0, 0)  # Ray ends the group of a worker that has died
        if "ray" in sys.modules:
            importlib.import_module("sweeper.cluster.ray_internals").read_settings()
        return arguments, whole_end
    for descriptor in descriptors:
        os.close(descriptor)
    ended = os.pidfd_open(process)
    while ended not in select.select([ended, connection], [], [])[0]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, (connection.recv(1) or bytes([signal.SIGKILL]))[0])
    with contextlib.suppress(OSError):
        connection.sendall(struct.pack("i", os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])))
    os._exit(0)


def _take_over(descriptors, is_open):
    received = iter(descriptors)
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if is_open[descriptor]:
            os.dup2(source := next(received), descriptor)
            os.close(source)
        else:  # as Python itself does
            os.close(descriptor)
            setattr(sys, name, None)
            setattr(sys, f"__{name}__", None)


def _end_quickly(run, arguments):
    """What the interpreter does with a program and after it, but for taking the modules apart: that copies them all, for half a second."""
    code = 0
    try:
        run(arguments)
    except SystemExit as end:
        code = end.code
        if code is not None and not isinstance(code, int):
            sys.stderr.write(f"{code}\n")
            code = 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            if not stream.closed:
                stream.flush()
    except OSError:
        sys.exit(code)  # the whole end, which tells of it
    os._exit((code or 0) & 0xFF)


def _python(arguments):
    """Do what ``python ARGUMENTS`` does, with ``-m``, ``-c`` or a script."""
    own = os.environ.get("PYTHONPATH", "")
    sys.path[:1] = ["", *filter(None, own.split(os.pathsep))]
    if arguments[0] == "-m":
        sys.argv[:] = arguments[1:]
        sys.path[0] = str(Path.cwd())
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv[:] = ["-c", *arguments[2:]]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(arguments[1], "<string>", "exec"), vars(main))  # noqa: S102
    else:
        sys.argv[:] = arguments
        sys.path[0] = str(Path(arguments[0]).resolve().parent)
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    arguments, whole_end = _serve(Path(sys.argv[1]))
    if whole_end:
        _python(arguments)
    else:
        _end_quickly(_python, arguments)
