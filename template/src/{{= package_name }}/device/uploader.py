"""Send the decisions of the outbox to the collector, from a thread of its own.

A batch leaves the outbox when the collector says that it is stored. Until then it is sent again;
the collector knows repeats by their id.
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
from .wire_format import Telemetry, format_batch, import_mqtt

# Each batch costs the collector one synced write: 100 events share it, in a request of some 25 kB.
BATCH_EVENTS = 100
# A device without decisions reports once per minute, so that the fleet view can tell it from a
# dead one; the alert waits for `max_silence_s`.
HEARTBEAT_S = 60
TIMEOUT_S = 10  # a mobile link that needs longer for 25 kB does not work
FAILURES = Counter("upload_failures", "Failed uploads, by HTTP status or error", ["reason"])


class Uploader(Thread):
    """A thread that sends batches for as long as the process lives; set `stop` to end it.

    `recent_ms` are the times of the latest decisions.
    """

    def __init__(self, outbox: Outbox, recent_ms: Collection[float]) -> None:
        super().__init__(daemon=True)  # a network that hangs does not keep the process alive
        self.stop = Event()
        self._outbox = outbox
        self._recent_ms = recent_ms
        self._last_report_s = -math.inf
        self._post: Callable[[bytes], dict[str, list[str]]] = _post
        url = load_params().upload_url
        if url.startswith("mqtt"):
            self._post = import_mqtt("device.mqtt").BrokerConnection(url, TIMEOUT_S).post

    def run(self) -> None:
        keep_working(self.stop, lambda: self.send() == BATCH_EVENTS, _count_failure)

    def send(self) -> int:
        """Send the oldest events, or at times telemetry alone; return how many were stored.

        Raises:
            OSError: no answer, or another status than 200.
            ValueError: the collector stored some of the events only. Those have left the outbox.
        """
        events = self._outbox.oldest(BATCH_EVENTS)
        if not events and time.monotonic() < self._last_report_s + HEARTBEAT_S:
            return 0
        telemetry = read_telemetry(self._outbox, self._recent_ms)
        batch = format_batch(telemetry, [(event.id, event.body) for event in events])
        stored = set(self._post(batch)["stored"])
        self._last_report_s = time.monotonic()
        # The outbox forgets events up to a number: only those before the first gap may go.
        taken = list(takewhile(lambda event: event.id in stored, events))
        if taken:
            self._outbox.acknowledge(taken[-1].seq)
        if len(taken) < len(events):
            raise ValueError(f"{len(taken)} of {len(events)} events are stored")
        return len(taken)


def _count_failure(error: Exception) -> None:
    FAILURES.labels(getattr(error, "code", type(error).__name__)).inc()


def _post(body: bytes) -> dict[str, list[str]]:
    key = UploadSettings.read().upload_key.get_secret_value()
    headers = {"content-type": "application/jsonl", "x-api-key": key}
    reply: dict[str, list[str]] = post(load_params().upload_url, body, headers, TIMEOUT_S)
    return reply


def read_telemetry(outbox: Outbox, recent_ms: Collection[float]) -> Telemetry:
    """Collect the state of this device, from the gauges of the process and the disk."""
    scores = [sample.value for family in DRIFT.collect() for sample in family.samples]
    models = [sample.labels["sha256"] for family in MODEL.collect() for sample in family.samples]
    (trained_at,) = (sample.value for family in TRAINED.collect() for sample in family.samples)
    times_ms = list(recent_ms)  # a copy: another thread appends to it
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
    """Return the host's name as `Telemetry.device` takes it."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:64]


def _installed_version() -> str:
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:  # run from a folder, not installed
        return "unknown"
