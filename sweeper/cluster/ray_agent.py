"""Stands in for the agent by which a raylet reports to a dashboard, which a sweep has not: 0.7 processor seconds of every start.

A program with the arguments of Ray's own: it writes that nothing listens at its ports, as an agent without a service does, and ends with
its raylet. Ray's other agent makes the environments of workers, and stays.
"""

import os
import sys

_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")
"""What the raylet waits to read."""


def main(*arguments: str) -> None:
    """Write the ports, then wait for the end of the raylet, which holds the other end."""
    options = dict(each[2:].partition("=")[::2] for each in arguments)
    for name in _PORTS:
        path = f"{options['session-dir']}/{name}_{options['node-id']}"
        with open(f"{path}.new", "w") as file:  # noqa: PTH123  pathlib would take longer to import than all of this takes
            file.write("-1")
        os.replace(f"{path}.new", path)  # noqa: PTH105
    while os.read(0, 1):
        pass


if __name__ == "__main__":
    main(*sys.argv[2:])
