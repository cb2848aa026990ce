"""Stands in for both agents of a raylet: one reports to a dashboard, one makes environments for workers. A sweep has neither.

A program with the arguments of Ray's own: it writes that nothing listens at their ports, as an agent without a service does, and ends with
its raylet. Ray's are Python processes that import Ray; until they have, no node registers.
"""

import os
import sys

_PORTS = {
    "dashboard/agent.py": ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port"),
    "runtime_env/agent/main.py": ("runtime_env_agent_port",),
}
"""Ports that the raylet waits to read, by the agent that would write them. Where an agent ends, the raylet does too, sooner or later."""


def main(agent: str, *arguments: str) -> None:
    """Write the ports, then wait for the end of the raylet, which holds the other end."""
    options = dict(each[2:].partition("=")[::2] for each in arguments)
    for name in next(names for file, names in _PORTS.items() if agent.endswith(file)):
        path = f"{options['session-dir']}/{name}_{options['node-id']}"
        with open(f"{path}.new", "w") as file:  # noqa: PTH123  pathlib would take longer to import than all of this takes
            file.write("-1")
        os.replace(f"{path}.new", path)  # noqa: PTH105
    while os.read(0, 1):
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
