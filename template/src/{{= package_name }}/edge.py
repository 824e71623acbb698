"""The device loop: files land in an inbox, decisions in an outbox; no network is needed."""

import hashlib
import json
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

from prometheus_client import REGISTRY, write_to_textfile

from .monitor import Monitor
from .outbox import OUTBOX, Outbox
from .predictor import Predictor
from .refusal import Refusal
from .scope import load_params
from .trial import Answering
from .upload import Uploader

INBOX = Path("data/inbox")
REFUSED = Path("data/refused")
METRICS = Path("data/metrics.prom")  # for the textfile collector of Prometheus' node exporter
POLL_S = 0.2
RECENT = 250  # decisions whose p95 latency is reported


def decide(payload: bytes, predictor: Predictor, monitor: Monitor) -> dict[str, Any]:
    """Return the decision on one payload; a payload that breaks the contract is refused.

    The id is the hash of the payload, so that whoever reads the outbox can drop repeats.
    """
    decision: dict[str, Any] = {"id": hashlib.sha256(payload).hexdigest(), "time": time.time()}
    try:
        prediction = predictor.predict(payload)
    except Refusal as refusal:
        return decision | {"refused": refusal.detail}
    monitor.observe(prediction)
    return decision | {"label": prediction.label, "confidence": prediction.confidence}


def drain_inbox(
    predictor: Predictor, monitor: Monitor, outbox: Outbox, recent_ms: deque[float]
) -> int:
    """Decide on every file that is whole, oldest first, and return how many there were.

    Whoever fills the inbox writes to a hidden name first, then renames. A decision is on disk
    before its file leaves the inbox: after a power cut it may be made twice, never lost, and its
    event id is that of the file, so that the collector keeps one.
    """
    waiting = [p for p in INBOX.iterdir() if p.is_file() and not p.name.startswith(".")]
    for path in sorted(waiting, key=lambda path: path.stat().st_mtime_ns):
        start_s, came_ns = time.perf_counter(), path.stat().st_mtime_ns
        decision = {"file": path.name} | decide(path.read_bytes(), predictor, monitor)
        recent_ms.append(1000 * (time.perf_counter() - start_s))
        event = json.dumps([path.name, came_ns, decision["id"]])
        outbox.put(hashlib.sha256(event.encode()).hexdigest(), json.dumps(decision))
        if "refused" in decision:
            path.replace(REFUSED / path.name)
        else:
            path.unlink()
    return len(waiting)


def edge() -> None:
    """Watch the inbox until told to stop."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    for folder in (INBOX, REFUSED):
        folder.mkdir(parents=True, exist_ok=True)
    models = Answering()
    outbox, recent_ms = Outbox(load_params().outbox_mb), deque[float](maxlen=RECENT)
    outbox.show()
    uploader = Uploader(outbox, recent_ms)
    if load_params().upload_url:
        uploader.start()
    print(f"Waiting for files in {INBOX}; decisions go to {OUTBOX}.", flush=True)
    while not stop.is_set():
        with models.turn() as news:
            if drain_inbox(models.predictor, models.monitor, outbox, recent_ms) or news:
                with suppress(OSError):  # a full disk, which stops no decision
                    write_to_textfile(str(METRICS), REGISTRY)
        stop.wait(POLL_S)
    models.stop()
    uploader.stop.set()
    outbox.close()


@contextmanager
def answering() -> Iterator[Callable[[bytes], dict[str, Any]]]:
    """Give a function that decides on one payload, for the benchmark."""
    predictor = Predictor()
    monitor = Monitor(predictor)
    yield lambda payload: decide(payload, predictor, monitor)
