"""The command ``dashboard``: a sweep's studies in optuna-dashboard, on this machine only, without letting it write."""

from __future__ import annotations

import errno
from typing import Any

import click

from sweeper.cli.options import sweep_argument
from sweeper.cli.output import say
from sweeper.errors import SweeperError


class DashboardError(SweeperError):
    """A dashboard that cannot be opened: it is not installed, the port is taken, or there are no studies to show."""


@click.command()
@sweep_argument()
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Port on this machine.")
def dashboard(sweep: str | None, results: str, port: int) -> None:
    """Open a sweep's studies in optuna-dashboard, on this machine only.

    The dashboard is read-only, since only a running sweep may write its studies.

    \b
    pip install optuna-dashboard
    sweep dashboard
    sweep dashboard focal-20260101-120000
    """
    from sweeper.view.find import find_sweep

    folder = find_sweep(sweep, results)
    try:
        from optuna_dashboard import wsgi
    except ModuleNotFoundError as error:
        raise DashboardError("optuna-dashboard is not installed: pip install optuna-dashboard") from error
    if not folder.folder.local or not folder.journal.exists():
        raise DashboardError(f"{folder}: no studies.journal on this machine; copy the sweep's folder here to open it")
    from sweeper.studies.journal_reader import read_only_storage

    with _server(port, wsgi(read_only_storage(folder.journal))) as server:
        say(f"{folder.id} at http://127.0.0.1:{port}/dashboard/ (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def _server(port: int, application: Any) -> Any:
    """A WSGI server on the loopback interface, with a thread per request, that logs no requests.

    Raises:
        DashboardError: if it cannot listen on ``port``.
    """
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    class ThreadingServer(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    class SilentHandler(WSGIRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    try:
        return make_server("127.0.0.1", port, application, server_class=ThreadingServer, handler_class=SilentHandler)
    except OSError as error:
        taken = f"port {port} is taken; choose another with --port" if error.errno == errno.EADDRINUSE else error.strerror
        raise DashboardError(f"cannot serve on 127.0.0.1:{port}: {taken}") from error
