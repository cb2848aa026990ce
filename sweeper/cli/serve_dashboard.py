"""A sweep's studies in optuna-dashboard, on this machine only, without letting it write."""

from __future__ import annotations

import errno
import socketserver
from collections.abc import Callable
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from sweeper.errors import SweeperError
from sweeper.store import SweepFolder
from sweeper.studies.journal_reader import read_only_storage


class DashboardError(SweeperError):
    """A dashboard that cannot be opened: it is not installed, the port is taken, or there are no studies to show."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """Writes no line per request."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def serve_dashboard(folder: SweepFolder, port: int, *, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until Ctrl-C; ``ready`` is called when the page can be opened.

    Raises:
        DashboardError: if it cannot be opened.
        StoreError: if the journal cannot be read.
    """
    try:
        from optuna_dashboard import wsgi
    except ModuleNotFoundError as error:
        raise DashboardError("optuna-dashboard is not installed: pip install optuna-dashboard") from error
    if not folder.folder.local or not folder.journal.exists():
        raise DashboardError(f"{folder}: no studies.journal on this machine; copy the sweep's folder here to open it")
    application = wsgi(read_only_storage(folder.journal))
    try:
        server = make_server("127.0.0.1", port, application, server_class=_Server, handler_class=_Quiet)
    except OSError as error:
        taken = f"port {port} is taken; choose another with --port" if error.errno == errno.EADDRINUSE else error.strerror
        raise DashboardError(f"cannot serve on 127.0.0.1:{port}: {taken}") from error
    with server:
        ready()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
