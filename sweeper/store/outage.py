"""Temporary outages of object storage: which errors mean one, and who waits how long."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable

from sweeper.errors import StorageAwayError, StoreError

SECONDS_TO_WAIT = 120.0
"""How long a sweep waits for unavailable storage."""
SECONDS_UNTOLD = 2.0
"""An outage that is over by then is not worth a line."""
LONGEST_PAUSE = 5.0
"""Seconds between two tries at most; they double from a quarter of a second."""

_CODE = re.compile(r"AWS Error (\w+(?: \(HTTP status \d+\))?)")
_CURL = re.compile(r"curlCode: \d+, ([^;]+)")
_AWAY = re.compile(
    r"NETWORK_CONNECTION|SERVICE_UNAVAILABLE|SLOW_DOWN|THROTTLING|REQUEST_TIMEOUT|INTERNAL_FAILURE|HTTP status (5\d\d|429)"
    r"|Status\((UNAVAILABLE|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED)"  # Google's
)
_DENIED = re.compile(r"ACCESS_DENIED|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|SIGNATURE|TOKEN|UNRECOGNIZED_CLIENT|HTTP status 40[13]")


def endpoint() -> str | None:
    """Where an S3 server of one's own answers; it comes from the environment, as for Amazon's own tools."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def storage_error(place: str, reason: str) -> StoreError:
    """The error of object storage in a user's words. ``place``: the URI that was asked for; ``reason``: what the library says."""
    code = _CODE.search(reason)
    if _AWAY.search(code[1] if code else reason):
        curl = _CURL.search(reason)
        at = f" at {endpoint()}" if endpoint() and place.startswith("s3://") else ""
        return StorageAwayError(f"{place}: the storage{at} does not answer ({curl[1] if curl else code[1] if code else reason})")
    if code and _DENIED.search(code[1]):
        return StoreError(
            f"{place}: the storage refuses these credentials ({code[1]}); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE, and what they are allowed to do there"
        )
    if code and code[1] == "NO_SUCH_BUCKET":
        return no_bucket(place)
    return StoreError(f"{place}: {reason}")


def no_bucket(place: str) -> StoreError:
    """What is said of a place in a bucket that there is not."""
    scheme, _, path = place.partition("://")
    return StoreError(f"{place}: there is no bucket {scheme}://{path.partition('/')[0]}; create it, or give another one")


class Patience:
    """Waits for unavailable storage; shared by all users of one storage, so that an outage is reported once. Thread-safe.

    ``tell`` is called with a line when the storage becomes unavailable, and again when it is back. ``way_out``: ends the error of
    whoever has waited long enough.
    """

    def __init__(self, tell: Callable[[str], None] | None = None, way_out: str = "") -> None:
        self._tell = tell
        self._way_out = way_out
        self._lock = threading.Lock()
        self._away_since: float | None = None
        self._told = False
        self._ended: StorageAwayError | bool = False

    def end(self) -> None:
        """Stop waiting: the sweep is ending."""
        self._ended = self._ended or True

    def wait(self, error: StorageAwayError, since: float, n_tries: int) -> None:
        """Let some time go by before the next try of something that has failed ``n_tries`` times, at first at ``since`` (monotonic).

        Raises:
            StorageAwayError: if it has been tried for long enough.
        """
        now = time.monotonic()
        if not self._ended and now - since >= SECONDS_TO_WAIT:
            self._ended = StorageAwayError(f"{error}, and has not for {now - since:.0f} s{self._way_out}")
        if self._ended:  # what one has found out holds for all
            raise error if isinstance(self._ended, bool) else self._ended
        with self._lock:
            self._away_since = since if self._away_since is None else self._away_since
            untold = not self._told and now - self._away_since >= SECONDS_UNTOLD
            self._told = self._told or untold
        if untold:
            self._say(f"warning: {error}; trying again for {SECONDS_TO_WAIT:.0f} s, training goes on")
        time.sleep(min(LONGEST_PAUSE, 0.25 * 2 ** min(n_tries, 10), max(0.0, since + SECONDS_TO_WAIT - now)))

    def answered(self, place: str) -> None:
        """The storage has answered."""
        if self._away_since is None:
            return
        with self._lock:
            since, told = self._away_since, self._told
            self._away_since, self._told = None, False
        if told and since is not None:
            self._say(f"warning: {place}: the storage answers again, after {time.monotonic() - since:.0f} s")

    def _say(self, line: str) -> None:
        if self._tell is not None:
            with contextlib.suppress(OSError):  # the reader has gone
                self._tell(line)
