"""Restores what Ray, Tune and a sweep change in the process that they run in."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def preserve_process_state() -> Iterator[None]:
    """Put back at the end of the block: environment variables, levels and handlers of loggers, and torch's number of threads."""
    environment = dict(os.environ)
    loggers = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    as_they_were = [(logger, logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 0
    try:
        yield
    finally:
        for name in os.environ.keys() - environment.keys():
            os.environ.pop(name, None)
        os.environ.update({name: value for name, value in environment.items() if os.environ.get(name) != value})
        for logger, level, handlers, propagate in as_they_were:
            logger.setLevel(level)
            logger.propagate = propagate
            if logger.handlers != handlers:
                logger.handlers[:] = handlers
        if torch and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
