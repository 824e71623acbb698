"""The device: payloads in, decisions out, in time and kept; no network is needed."""

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Any

from prometheus_client import REGISTRY, write_to_textfile

from ..scope import load_params
from .decide import Decider
from .inbox import INBOX, REFUSED, set_aside, waiting
from .outbox import OUTBOX, Outbox
from .socket_server import listen
from .uploader import Uploader
from .watchdog import notify

METRICS = Path("data/metrics.prom")  # for the textfile collector of Prometheus' node exporter
POLL_S = 0.2


class Device:
    """What decides, and what keeps the decisions until they are sent."""

    def __init__(self) -> None:
        self.decider, self.outbox = Decider(), Outbox(load_params().outbox_mb)
        self._consider: Callable[[bytes, dict[str, Any]], None] = lambda *_: None
        if load_params().server_url:  # only a hybrid knows of one
            second = import_module(".second_opinion", __package__).SecondOpinion(self.outbox)
            second.start()
            self._consider = second.consider

    def keep(self, payload: bytes, decision: dict[str, Any], *moment: object) -> None:
        """Put a decision into the outbox; by its moment, a repeat of it is known to collectors."""
        if "skipped" not in decision:
            event = json.dumps([*moment, decision["id"]])
            self.outbox.put(hashlib.sha256(event.encode()).hexdigest(), json.dumps(decision))
            self._consider(payload, decision)

    def show_life(self) -> None:
        """Tell systemd; it restarts a process that says nothing, as one does whose model hangs."""
        if not self.decider.hangs():
            notify("WATCHDOG=1")

    def drain_inbox(self) -> int:
        """Decide on every file that is whole, oldest first, and return how many there were.

        A decision is on disk before its file leaves the inbox: after a power cut it may be made
        twice, never lost.
        """
        files = waiting()
        for path in files:
            self.show_life()
            came_ns = path.stat().st_mtime_ns
            try:
                payload = path.read_bytes()
            except OSError:  # not ours to read, or a worn disk: refused, as what holds nothing is
                payload = b""
            decision = {"file": path.name} | self.decider.decide(payload)
            self.keep(payload, decision, path.name, came_ns)
            if "refused" in decision:
                set_aside(path)
            else:
                path.unlink()
        return len(files)


def edge() -> None:
    """Decide on what comes, until told to stop."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    for folder in (INBOX, REFUSED):
        folder.mkdir(parents=True, exist_ok=True)
    device = Device()
    device.outbox.show()
    uploader = Uploader(device.outbox, device.decider.recent_ms)
    if load_params().upload_url:
        uploader.start()
    listen(device.decider, device.keep)
    print(f"Waiting for files in {INBOX}; decisions go to {OUTBOX}.", flush=True)
    notify("READY=1")
    while not stop.is_set():
        device.show_life()
        news = device.decider.models.follow()
        if device.drain_inbox() or news:
            with suppress(OSError):  # a full disk, which stops no decision
                write_to_textfile(str(METRICS), REGISTRY)
        stop.wait(POLL_S)
    notify("STOPPING=1")
    device.decider.models.stop()
    uploader.stop.set()
    device.outbox.close()
    if device.decider.hangs():
        os._exit(1)  # nothing else ends a thread that hangs


@contextmanager
def answering() -> Iterator[Callable[[bytes], dict[str, Any]]]:
    """Give a function that decides on one payload, for the benchmark."""
    yield Decider().decide
