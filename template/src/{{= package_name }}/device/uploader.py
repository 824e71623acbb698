"""Upload of decisions from the outbox to the collector, on a background thread.

Events leave the outbox only after the collector has confirmed that they are stored. Until then they
are sent again; the collector drops duplicates by id.
"""

import json
import math
import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Collection
from importlib import metadata
from itertools import takewhile

import numpy as np
from prometheus_client import Counter
from pydantic import BaseModel

from ..monitoring.live import DRIFT, MODEL, TRAINED
from ..scope import load_params
from ..settings import PACKAGE
from .json_http import post
from .outbox import OUTBOX, Outbox, QueuedEvent
from .report import fault_count, log
from .retry import LastingThread, keep_working
from .settings import UploadSettings
from .slots import last_check_s
from .wire_format import MAX_BATCH_BYTES, Telemetry, format_batch, import_transport

# Each batch costs the collector one synced write; 100 events make a request of about 25 kB.
BATCH_EVENTS = 100
# An idle device reports once per minute; the alert fires after `max_silence_s` without a report.
HEARTBEAT_S = 60
# Half of what the collector accepts: telemetry and ids take their part, and escapes of characters.
MAX_EVENTS_BYTES = MAX_BATCH_BYTES // 2
SHRINK = 10  # so two failures lead to batches of one event, within seconds
TRIES = 3  # of one event, before the others go first
MAX_ROUNDS = 3  # in which an event is refused, before it is given up
# Statuses about the key, the address or the state of the collector, which may change. Such events
# wait behind the others, without end.
NOT_OF_THE_EVENT = {"401", "403", "404", "407", "408", "425", "429", "502", "503", "504", "507"}
EVENT_ID = re.compile("[0-9a-f]{64}")
TIMEOUT_S = 10  # generous for 25 kB on a mobile link
FAILURES = Counter("upload_failures", "Failed uploads, by HTTP status or error", ["reason"])
REJECTED = Counter("upload_rejected", "Decisions that the collector refused, or that are damaged")


class Uploader(LastingThread):
    """A thread that uploads batches; set `stop` to end it.

    `recent_ms` are the latencies of recent decisions, in ms. After a failure the batches get
    smaller, down to one event. An event that the collector refuses alone, while it accepts a report
    without events, moves behind the others, and is given up after `MAX_ROUNDS` refusals.
    """

    def __init__(self, outbox: Outbox, recent_ms: Collection[float]) -> None:
        super().__init__("uploader")
        self._outbox = outbox
        self._recent_ms = recent_ms
        self._started_s = time.monotonic()
        self._last_report_s = -math.inf
        self._size = BATCH_EVENTS
        self._failures = 0  # of the first event, sent alone
        self._rounds: dict[str, int] = {}  # refusals by event
        self._run = secrets.token_hex(8)
        self._number = 0
        self._post: Callable[[bytes], dict[str, list[str]]] = _post
        url = load_params().upload_url
        if transport := import_transport("device", url):
            self._post = transport.Connection(url, TIMEOUT_S).post

    def work(self) -> None:
        keep_working(self.stop, self._send_more, _count_failure, "Upload")

    def _send_more(self) -> bool:
        size = self._size
        return self.send() >= size

    def silent_s(self) -> float:
        """Return the seconds since the last confirmed upload, or since the start without any."""
        return time.monotonic() - max(self._last_report_s, self._started_s)

    def send(self) -> int:
        """Send the oldest events, or telemetry only if it is due; return how many were stored.

        Raises:
            OSError: no reply, or a status other than 200.
            ValueError: the collector stored only some of the events. Those have left the outbox.
        """
        events = self._outbox.oldest(self._size, MAX_EVENTS_BYTES)
        while events and (wrong := _find_defect(events[0])):
            self._give_up(events.pop(0), wrong)
        events = list(takewhile(lambda event: not _find_defect(event), events))
        if not events and time.monotonic() < self._last_report_s + HEARTBEAT_S:
            self._size = BATCH_EVENTS
            return 0
        try:
            stored = self._send_batch(events)
        except Exception as error:
            self._handle_failure(events, error)
            raise
        # `acknowledge` deletes all events up to a number, so stop at the first one not stored.
        taken = list(takewhile(lambda event: event.id in stored, events))
        if taken:
            self._outbox.acknowledge(taken[-1].seq)
            self._failures = 0
        if len(taken) < len(events):
            # The collector is at fault, not the event: it would have to refuse the whole batch.
            raise ValueError(f"the collector stored {len(taken)} of {len(events)} events")
        for event in taken:
            self._rounds.pop(event.id, None)
        self._size = min(BATCH_EVENTS, 2 * self._size)
        return len(taken)

    def _send_batch(self, events: list[QueuedEvent]) -> set[str]:
        """Send a report with these events, and return the ids that are stored."""
        self._number += 1
        telemetry = read_telemetry(self._outbox, self._recent_ms).model_copy(
            update={"run": self._run, "number": self._number}
        )
        batch = format_batch(telemetry, [(event.id, event.body) for event in events])
        reply = Reply.model_validate(self._post(batch))
        self._last_report_s = time.monotonic()
        return set(reply.stored)

    def _handle_failure(self, events: list[QueuedEvent], error: Exception) -> None:
        """Make the next batch smaller; let an event that fails alone wait behind the others.

        Without a connection the events are not the reason, and small batches would only delay the
        others once it is back.
        """
        code = str(getattr(error, "code", ""))
        if not (code.isdecimal() or isinstance(error, TimeoutError | ValueError)):
            return
        self._size = max(1, min(self._size, len(events)) // SHRINK)
        if len(events) != 1:
            return
        self._failures += 1
        if self._failures < TRIES or self._is_collector_down():
            return
        self._failures = 0
        (event,) = events
        if code.isdecimal() and code not in NOT_OF_THE_EVENT:
            self._rounds[event.id] = self._rounds.get(event.id, 0) + 1
        if self._rounds.get(event.id, 0) >= MAX_ROUNDS:
            self._give_up(event, f"the collector refuses it ({error})")
        elif self._outbox.depth() > 1:
            self._outbox.move_to_end(event)

    def _is_collector_down(self) -> bool:
        """Return whether a report without events fails, too."""
        try:
            self._send_batch([])
        except Exception:
            return True
        return False

    def _give_up(self, event: QueuedEvent, reason: str) -> None:
        """Remove the first event from the outbox, and log it instead."""
        self._outbox.acknowledge(event.seq)
        self._rounds.pop(event.id, None)
        REJECTED.inc()
        log(f"A decision is not uploaded: {reason}. It was {event.body[:1000]}")


class Reply(BaseModel):
    """The reply of a collector: the ids of the events that are on its disk."""

    stored: list[str]


def _find_defect(event: QueuedEvent) -> str:
    """Return why an event cannot be sent at all, or an empty string."""
    if len(event.body) > MAX_EVENTS_BYTES:
        return f"it has more than {MAX_EVENTS_BYTES} bytes"
    try:
        is_decision = isinstance(json.loads(event.body), dict)
    except (ValueError, RecursionError):
        is_decision = False
    is_whole = is_decision and EVENT_ID.fullmatch(event.id) is not None and "\n" not in event.body
    return "" if is_whole else "it is damaged"


def _count_failure(error: Exception | SystemExit) -> None:
    code = "" if isinstance(error, SystemExit) else getattr(error, "code", "")
    FAILURES.labels(code or type(error).__name__).inc()


def _post(body: bytes) -> dict[str, list[str]]:
    key = UploadSettings.read().read_key()
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
        model_current_timestamp_seconds=max(trained_at, last_check_s()) or None,
        faults=fault_count(),
    )


def _hostname() -> str:
    """Return the host name in the form that `Telemetry.device` allows."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:64]


def _installed_version() -> str:
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:  # runs from a folder
        return "unknown"
