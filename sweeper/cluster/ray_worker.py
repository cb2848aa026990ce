"""Starts a worker of Ray's, without importing Ray for that, as Ray's own ``setup_worker.py`` does for 0.4 processor seconds.

A program with the same arguments. Where a worker is to have an environment of its own, Ray's does the work.
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
    if "--language=PYTHON" in own and not any(context.values()):
        os.execv(sys.executable, [sys.executable, *command])  # noqa: S606  what the raylet asks for
    folder = next(os.path.dirname(each) for each in command if each.endswith("default_worker.py"))  # noqa: PTH120  as in ray_agent
    runpy.run_path(f"{folder}/setup_worker.py", run_name="__main__")


if __name__ == "__main__":
    main()
