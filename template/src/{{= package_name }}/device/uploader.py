"""Sends what waits in the outbox to the collector, beside the decisions and never in their way."""

import json
import math
import random
import re
import shutil
import socket
import time
from collections.abc import Callable, Collection
from importlib import metadata
from itertools import takewhile
from threading import Event, Thread
from urllib.request import Request, urlopen

import numpy as np
from prometheus_client import Counter

from ..monitoring.live import DRIFT, MODEL, TRAINED
from ..scope import load_params
from ..settings import PACKAGE
from .outbox import OUTBOX, Outbox
from .settings import UploadSettings
from .slots import read_state
from .wire_format import Telemetry, uplink

BATCH, MAX_REPLY_BYTES = 100, 100_000
POLL_S, HEARTBEAT_S, TIMEOUT_S = 1, 60, 10
BASE_S, CAP_S = 1, 60
FAILURES = Counter("upload_failures", "Batches not taken, by HTTP status or error", ["reason"])


class Uploader(Thread):
    """A thread that sends batches for as long as the process lives; set `stop` to end it.

    `recent_ms` are the times that the latest decisions took.
    """

    def __init__(self, outbox: Outbox, recent_ms: Collection[float]) -> None:
        super().__init__(daemon=True)  # a network that hangs keeps no process alive
        self.stop, self._outbox, self._recent_ms = Event(), outbox, recent_ms
        self._told_s, url = -math.inf, load_params().upload_url
        self._post: Callable[[bytes], dict[str, list[str]]] = _post
        if url.startswith("mqtt"):
            self._post = uplink("device.mqtt").Link(url, TIMEOUT_S).post

    def run(self) -> None:
        """Send until stopped; whatever fails is sent again, later and later."""
        failures, pause_s = 0, 0.0
        while not self.stop.wait(pause_s):
            try:
                pause_s = 0 if self.send() == BATCH else POLL_S
                failures = 0
            except Exception as error:  # nothing that a network does may end this
                FAILURES.labels(getattr(error, "code", type(error).__name__)).inc()
                pause_s = backoff_s(failures)
                failures += 1

    def send(self) -> int:
        """Send the oldest events, at times only the telemetry; return how many were stored.

        Raises:
            OSError: no answer, or another status than 200.
            ValueError: not all is said to be stored; what is, waits here no longer.
        """
        events = self._outbox.oldest(BATCH)
        if not events and time.monotonic() < self._told_s + HEARTBEAT_S:
            return 0
        lines = [telemetry(self._outbox, self._recent_ms).model_dump_json()]
        lines += [f'{{"id": "{event.id}", "decision": {event.body}}}' for event in events]
        stored = set(self._post("\n".join(lines).encode())["stored"])
        self._told_s = time.monotonic()
        if taken := list(takewhile(lambda event: event.id in stored, events)):
            self._outbox.acknowledge(taken[-1].seq)
        if len(taken) < len(events):
            raise ValueError(f"{len(taken)} of {len(events)} events are stored")
        return len(taken)


def backoff_s(failures: int) -> float:
    """Return how long to wait: exponential, with full jitter, so that a fleet comes back spread.

    Brooker 2015, https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return random.uniform(0, min(CAP_S, BASE_S * 2 ** min(failures, 9)))  # noqa: S311 (no secret)


def telemetry(outbox: Outbox, recent_ms: Collection[float]) -> Telemetry:
    """Read how this device does."""
    scores = [sample.value for family in DRIFT.collect() for sample in family.samples]
    models = [sample.labels["sha256"] for family in MODEL.collect() for sample in family.samples]
    (trained,) = (sample.value for family in TRAINED.collect() for sample in family.samples)
    times_ms, hostname = list(recent_ms), re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())
    try:
        version = metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:  # run from a folder, not installed
        version = "unknown"
    return Telemetry(
        device=load_params().device or hostname[:64],
        version=version,
        model_sha256=models[0] if models else None,
        latency_p95_ms=float(np.percentile(times_ms, 95)) if times_ms else None,
        drift_score_max=max(filter(math.isfinite, scores), default=None),
        disk_free_bytes=shutil.disk_usage(OUTBOX.parent).free,
        outbox_depth=outbox.depth(),
        outbox_dropped=outbox.dropped(),
        model_current_timestamp_seconds=max(trained, read_state().checked_at) or None,
    )


def _post(body: bytes) -> dict[str, list[str]]:
    key = UploadSettings.read().upload_key.get_secret_value()
    headers = {"content-type": "application/jsonl", "x-api-key": key}
    request = Request(load_params().upload_url, body, headers)  # noqa: S310 (http or https only)
    with urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
        reply: dict[str, list[str]] = json.loads(response.read(MAX_REPLY_BYTES))
    return reply
