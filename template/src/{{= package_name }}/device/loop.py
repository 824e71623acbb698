"""The device loop: decide on payloads from the inbox and the socket, with or without a network."""

import hashlib
import json
import os
import platform
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Any

from prometheus_client import REGISTRY, write_to_textfile

from ..scope import load_params
from ..task.features import MAX_PAYLOAD_BYTES
from .decide import Decider
from .health import read_health
from .inbox import INBOX, REFUSED, list_files, set_aside
from .outbox import OUTBOX, Outbox
from .socket_server import listen
from .uploader import Uploader
from .watchdog import notify

METRICS = Path("data/metrics.prom")  # for the textfile collector of the Prometheus node exporter
# Shorter than the default scrape interval of Prometheus, 15 s. Writing 10 kB every 10 s is 86 MB
# per day, which a memory card can take for years.
METRICS_EVERY_S = 10
# A file waits 0.1 s on average, and polling an empty inbox takes 10 us. Programs that need the
# decision immediately use the socket.
POLL_S = 0.2


class Device:
    """The decider, and the outbox that keeps decisions until they are sent."""

    def __init__(self) -> None:
        self.decider = Decider()
        self.outbox = Outbox(load_params().outbox_mb)
        self.uploader = Uploader(self.outbox, self.decider.recent_ms)
        self._metrics_due_s = 0.0
        self._consider: Callable[[bytes, dict[str, Any]], None] = lambda *_: None
        if getattr(load_params(), "server_url", ""):  # only a hybrid has it, and this module
            second_opinion = import_module(".second_opinion", __package__)
            asking = second_opinion.SecondOpinion(self.outbox)
            asking.start()
            self._consider = asking.consider

    def record(self, payload: bytes, decision: dict[str, Any], *moment: object) -> None:
        """Put a decision into the outbox.

        The event id is a hash of the payload and its moment (a time, or a file name and its mtime).
        A file that is processed twice because of a power cut gets the same id, and the collector
        drops the duplicate.
        """
        if "skipped" not in decision:
            event = json.dumps([*moment, decision["id"]])
            self.outbox.put(hashlib.sha256(event.encode()).hexdigest(), json.dumps(decision))
            self._consider(payload, decision)

    def notify_watchdog(self) -> None:
        """Send a watchdog message, unless the model hangs: then systemd restarts the loop."""
        if not self.decider.is_hanging():
            notify("WATCHDOG=1")

    def health(self) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and the content of `/healthz`."""
        return read_health(self.decider, self.outbox, self.uploader)

    def write_metrics(self, at_once: bool = False) -> None:
        """Write the metrics of the process to `METRICS`, if they are due."""
        if at_once or time.monotonic() >= self._metrics_due_s:
            self._metrics_due_s = time.monotonic() + METRICS_EVERY_S
            with suppress(OSError):  # decisions continue on a full disk, without the metrics
                write_to_textfile(str(METRICS), REGISTRY)

    def drain_inbox(self) -> int:
        """Decide on every complete file, oldest first, and return how many there were.

        A decision is on disk before its file leaves the inbox: after a power cut it may be made
        twice, but it is never lost.
        """
        files = list_files()
        for path in files:
            self.notify_watchdog()
            self.write_metrics()
            mtime_ns = path.stat().st_mtime_ns
            try:
                with path.open("rb") as file:
                    payload = file.read(MAX_PAYLOAD_BYTES + 1)  # larger files are refused
            except OSError:  # no permission or a disk error: refused like an empty payload
                payload = b""
            decision = {"file": path.name} | self.decider.decide(payload)
            self.record(payload, decision, path.name, mtime_ns)
            if "refused" in decision:
                set_aside(path)
            else:
                path.unlink()
        return len(files)


def edge() -> None:
    """The command `edge`: decide on payloads from the inbox and the socket, until SIGTERM."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    for folder in (INBOX, REFUSED):
        folder.mkdir(parents=True, exist_ok=True)
    device = Device()
    device.outbox.export_metrics()
    if load_params().upload_url:
        device.uploader.start()
    listen(device.decider, device.record, device.health)
    print(f"Waiting for files in {INBOX}; decisions go to {OUTBOX}.", flush=True)
    notify("READY=1")
    while not stop.is_set():
        device.notify_watchdog()
        model_changed = device.decider.model.poll()
        device.drain_inbox()
        device.write_metrics(at_once=model_changed)
        stop.wait(POLL_S)
    notify("STOPPING=1")
    device.decider.model.stop()
    device.uploader.stop.set()
    device.write_metrics(at_once=True)
    device.outbox.close()
    if device.decider.is_hanging():
        os._exit(1)  # Python would wait for the thread of the model, which never ends


@contextmanager
def start_predictor() -> Iterator[Callable[[bytes], dict[str, Any]]]:
    """Yield a function that decides on one payload, for `pipeline/benchmark.py`."""
    where = f"this machine ({platform.machine()}, {os.cpu_count()} cores)"
    print(f"Timing the device loop on {where}. Your device: docs/devices.md#latency-on-the-device")
    yield Decider().decide
