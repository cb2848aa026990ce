"""Starts a worker of Ray's, without importing Ray for that, as Ray's own ``setup_worker.py`` does for 0.4 processor seconds.

A program with the same arguments. Where a worker is to have more of its own than environment variables, Ray's does the work.
"""

import json
import os
import runpy
import sys

_CONTEXT = "--serialized-runtime-env-context="


def main() -> None:
    """Become the worker."""
    own = [each for each in sys.argv[1:] if each.startswith((_CONTEXT, "--language="))]
    command = [each for each in sys.argv[1:] if each not in own]
    context = json.loads(next((each.removeprefix(_CONTEXT) for each in own if each.startswith(_CONTEXT)), "{}"))
    variables = context.get("env_vars") or {}
    is_plain = not context.get("command_prefix") and not context.get("override_worker_entrypoint") and "--language=PYTHON" in own
    if is_plain and "$" not in "".join(variables.values()):  # Ray's fills other variables in
        os.environ.update(variables)
        python = context.get("py_executable") or sys.executable
        os.execv(python, [python, *command])  # noqa: S606  what the raylet asks for
    folder = next(os.path.dirname(each) for each in command if each.endswith("default_worker.py"))  # noqa: PTH120  as in ray_agent
    runpy.run_path(f"{folder}/setup_worker.py", run_name="__main__")


if __name__ == "__main__":
    main()
