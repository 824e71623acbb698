"""Upload of decisions from the outbox to the collector, on a background thread.

Events leave the outbox only after the collector has confirmed that they are stored. Until then they
are sent again; the collector drops duplicates by id.
"""

import math
import re
import shutil
import socket
import time
from collections.abc import Callable, Collection
from importlib import metadata
from itertools import takewhile
from threading import Event, Thread

import numpy as np
from prometheus_client import Counter

from ..monitoring.live import DRIFT, MODEL, TRAINED
from ..scope import load_params
from ..settings import PACKAGE
from .json_http import post
from .outbox import OUTBOX, Outbox
from .retry import keep_working
from .settings import UploadSettings
from .slots import read_state
from .wire_format import Telemetry, format_batch, import_transport

# Each batch costs the collector one synced write; 100 events make a request of about 25 kB.
BATCH_EVENTS = 100
# An idle device reports once per minute; the alert fires after `max_silence_s` without a report.
HEARTBEAT_S = 60
TIMEOUT_S = 10  # generous for 25 kB on a mobile link
FAILURES = Counter("upload_failures", "Failed uploads, by HTTP status or error", ["reason"])


class Uploader(Thread):
    """A thread that uploads batches; set `stop` to end it.

    `recent_ms` are the latencies of recent decisions, in ms.
    """

    def __init__(self, outbox: Outbox, recent_ms: Collection[float]) -> None:
        super().__init__(daemon=True)  # a hanging connection does not keep the process alive
        self.stop = Event()
        self._outbox = outbox
        self._recent_ms = recent_ms
        self._started_s = time.monotonic()
        self._last_report_s = -math.inf
        self._post: Callable[[bytes], dict[str, list[str]]] = _post
        url = load_params().upload_url
        if transport := import_transport("device", url):
            self._post = transport.Connection(url, TIMEOUT_S).post

    def run(self) -> None:
        keep_working(self.stop, lambda: self.send() == BATCH_EVENTS, _count_failure)

    def silent_s(self) -> float:
        """Return the seconds since the last confirmed upload, or since the start without any."""
        return time.monotonic() - max(self._last_report_s, self._started_s)

    def send(self) -> int:
        """Send the oldest events, or telemetry only if it is due; return how many were stored.

        Raises:
            OSError: no reply, or a status other than 200.
            ValueError: the collector stored only some of the events. Those have left the outbox.
        """
        events = self._outbox.oldest(BATCH_EVENTS)
        if not events and time.monotonic() < self._last_report_s + HEARTBEAT_S:
            return 0
        telemetry = read_telemetry(self._outbox, self._recent_ms)
        batch = format_batch(telemetry, [(event.id, event.body) for event in events])
        stored = set(self._post(batch)["stored"])
        self._last_report_s = time.monotonic()
        # `acknowledge` deletes all events up to a number, so stop at the first one not stored.
        taken = list(takewhile(lambda event: event.id in stored, events))
        if taken:
            self._outbox.acknowledge(taken[-1].seq)
        if len(taken) < len(events):
            raise ValueError(f"the collector stored {len(taken)} of {len(events)} events")
        return len(taken)


def _count_failure(error: Exception) -> None:
    FAILURES.labels(getattr(error, "code", type(error).__name__)).inc()


def _post(body: bytes) -> dict[str, list[str]]:
    key = UploadSettings.read().upload_key.get_secret_value()
    headers = {"content-type": "application/jsonl", "x-api-key": key}
    reply: dict[str, list[str]] = post(load_params().upload_url, body, headers, TIMEOUT_S)
    return reply


def read_telemetry(outbox: Outbox, recent_ms: Collection[float]) -> Telemetry:
    """Read the state of this device from the gauges of the process and the disk."""
    scores = [sample.value for family in DRIFT.collect() for sample in family.samples]
    models = [sample.labels["sha256"] for family in MODEL.collect() for sample in family.samples]
    (trained_at,) = (sample.value for family in TRAINED.collect() for sample in family.samples)
    times_ms = list(recent_ms)  # a copy, because another thread appends
    return Telemetry(
        device=load_params().device or _hostname(),
        version=_installed_version(),
        model_sha256=models[0] if models else None,
        latency_p95_ms=float(np.percentile(times_ms, 95)) if times_ms else None,
        drift_score_max=max(filter(math.isfinite, scores), default=None),
        disk_free_bytes=shutil.disk_usage(OUTBOX.parent).free,
        outbox_depth=outbox.depth(),
        outbox_dropped=outbox.drop_count(),
        model_current_timestamp_seconds=max(trained_at, read_state().checked_at) or None,
    )


def _hostname() -> str:
    """Return the host name in the form that `Telemetry.device` allows."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:64]


def _installed_version() -> str:
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:  # runs from a folder
        return "unknown"
