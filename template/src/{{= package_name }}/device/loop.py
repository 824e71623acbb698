"""The device loop: payloads in, decisions out, within the deadline and kept. Needs no network."""

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
from .inbox import INBOX, REFUSED, list_files, set_aside
from .outbox import OUTBOX, Outbox
from .socket_server import listen
from .uploader import Uploader
from .watchdog import notify

METRICS = Path("data/metrics.prom")  # for the textfile collector of Prometheus' node exporter
# A file waits 0.1 s on average, and a look at an empty inbox takes 10 us of a processor core.
# Programs that need the decision at once ask at the socket.
POLL_S = 0.2


class Device:
    """The decider, and the outbox that keeps decisions until they are sent."""

    def __init__(self) -> None:
        self.decider = Decider()
        self.outbox = Outbox(load_params().outbox_mb)
        self._consider: Callable[[bytes, dict[str, Any]], None] = lambda *_: None
        if getattr(load_params(), "server_url", ""):  # only a hybrid has it, and this module
            second_opinion = import_module(".second_opinion", __package__)
            asking = second_opinion.SecondOpinion(self.outbox)
            asking.start()
            self._consider = asking.consider

    def record(self, payload: bytes, decision: dict[str, Any], *moment: object) -> None:
        """Put a decision into the outbox.

        Its event id comes from the payload and its moment (a time, or a file and its mtime). A file
        that is decided on again after a power cut gets the same id, and the collector drops it.
        """
        if "skipped" not in decision:
            event = json.dumps([*moment, decision["id"]])
            self.outbox.put(hashlib.sha256(event.encode()).hexdigest(), json.dumps(decision))
            self._consider(payload, decision)

    def notify_watchdog(self) -> None:
        """Tell systemd that the loop runs, unless its model hangs; systemd then restarts it."""
        if not self.decider.is_hanging():
            notify("WATCHDOG=1")

    def drain_inbox(self) -> int:
        """Decide on every complete file, oldest first, and return how many there were.

        A decision is on disk before its file leaves the inbox: after a power cut it may be made
        twice, but is never lost.
        """
        files = list_files()
        for path in files:
            self.notify_watchdog()
            mtime_ns = path.stat().st_mtime_ns
            try:
                payload = path.read_bytes()
            except OSError:  # no permission, or a worn disk: refused, as an empty payload is
                payload = b""
            decision = {"file": path.name} | self.decider.decide(payload)
            self.record(payload, decision, path.name, mtime_ns)
            if "refused" in decision:
                set_aside(path)
            else:
                path.unlink()
        return len(files)


def edge() -> None:
    """The command `edge`: decide on payloads of the inbox and the socket, until SIGTERM."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    for folder in (INBOX, REFUSED):
        folder.mkdir(parents=True, exist_ok=True)
    device = Device()
    device.outbox.export_metrics()
    uploader = Uploader(device.outbox, device.decider.recent_ms)
    if load_params().upload_url:
        uploader.start()
    listen(device.decider, device.record)
    print(f"Waiting for files in {INBOX}; decisions go to {OUTBOX}.", flush=True)
    notify("READY=1")
    while not stop.is_set():
        device.notify_watchdog()
        has_news = device.decider.model.poll()
        if device.drain_inbox() or has_news:
            with suppress(OSError):  # a full disk costs the metrics, never a decision
                write_to_textfile(str(METRICS), REGISTRY)
        stop.wait(POLL_S)
    notify("STOPPING=1")
    device.decider.model.stop()
    uploader.stop.set()
    device.outbox.close()
    if device.decider.is_hanging():
        os._exit(1)  # Python would wait for the thread of the model, which does not end


@contextmanager
def start_predictor() -> Iterator[Callable[[bytes], dict[str, Any]]]:
    """Yield a function that decides on one payload, for `pipeline/benchmark.py`."""
    yield Decider().decide
