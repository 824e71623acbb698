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

from ..refusal import Refusal, check_size
from ..scope import load_params
from ..task.contract import contract
from ..task.features import MAX_PAYLOAD_BYTES
from .decide import Decider
from .health import read_health
from .inbox import INBOX, REFUSED
from .inbox_progress import InboxProgress, read_payload
from .outbox import OUTBOX, Outbox
from .process_lock import lock_folder
from .report import FailureLog
from .retry import ended_threads
from .socket_server import listen
from .uploader import Uploader
from .watchdog import notify

HIDDEN = "not recorded"
LOCK = Path("data/edge.lock")
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
        self.stop = Event()
        self.decider = Decider()
        self.inbox = InboxProgress()
        self.outbox = Outbox(load_params().outbox_mb, may_use_memory=True)
        self.uploader = Uploader(self.outbox, self.decider.recent_ms)
        self._queues = [self.outbox]
        self._metrics_due_s = 0.0
        self._consider_log = FailureLog("Queueing a second opinion")
        self._metrics_log = FailureLog(f"Writing {METRICS}")
        self._consider: Callable[[bytes, dict[str, Any]], None] = lambda *_: None
        if getattr(load_params(), "server_url", ""):  # only a hybrid has it, and this module
            second_opinion = import_module(".second_opinion", __package__)
            asking = second_opinion.SecondOpinion(self.outbox)
            asking.start()
            self._queues.append(asking.unsure)
            self._consider = asking.consider

    def record(self, payload: bytes, decision: dict[str, Any], *moment: object) -> None:
        """Put a decision into the outbox.

        The event id is a hash of the payload and its moment (a time, or a file name and its mtime).
        A file that is processed twice because of a power cut gets the same id, and the collector
        drops the duplicate.
        """
        if "skipped" not in decision:
            event = json.dumps([*moment, decision["id"]])
            kept = json.dumps(_without_quotes(decision))
            self.outbox.put(hashlib.sha256(event.encode()).hexdigest(), kept)
            try:
                self._consider(payload, decision)
            except Exception as error:  # the decision counts, with or without a second opinion
                self._consider_log.fail(error)

    def notify_watchdog(self) -> None:
        """Send a watchdog message. Without it, systemd restarts the loop.

        There is none while the model hangs, or after a thread has ended.
        """
        if not self.decider.is_hanging() and not ended_threads():
            notify("WATCHDOG=1")

    def health(self) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and the content of `/healthz`."""
        return read_health(self.decider, self.outbox, self.uploader)

    def write_metrics(self, at_once: bool = False) -> None:
        """Write the metrics of the process to `METRICS`, if they are due.

        Queues that are in memory return to the disk then, if it can be used again.
        """
        if at_once or time.monotonic() >= self._metrics_due_s:
            self._metrics_due_s = time.monotonic() + METRICS_EVERY_S
            for queue in self._queues:
                queue.return_to_disk()
            try:
                write_to_textfile(str(METRICS), REGISTRY)
            except Exception as error:  # decisions continue on a full disk, without the metrics
                self._metrics_log.fail(error)
            else:
                self._metrics_log.recover()

    def drain_inbox(self) -> int:
        """Decide on every complete file, oldest first, and return how many there were.

        A decision is on disk before its file leaves the inbox: after a power cut it may be made
        twice, but it is never lost. A file that cannot be decided on does not stop the others.
        """
        files = self.inbox.waiting()
        for path, info in files:
            if self.stop.is_set():
                break
            self.notify_watchdog()
            self.write_metrics()
            try:
                payload, decision = self._decide_on_file(path, info)
                self.record(payload, decision, path.name, info.st_mtime_ns)
            except FileNotFoundError:  # its owner took it back
                continue
            except Exception as error:
                self.inbox.postpone(path, info, error)
            else:
                is_good = "refused" not in decision and "unfinished" not in decision
                self.inbox.finish(path, info, not is_good)
        return len(files)

    def _decide_on_file(self, path: Path, info: os.stat_result) -> tuple[bytes, dict[str, Any]]:
        """Return the payload and the decision. A file that is too large is not read."""
        payload = b""
        if not self.inbox.begin(path, info):
            decision = self.decider.skip_model("failed", unfinished="the process ended twice on it")
        else:
            try:
                check_size(info.st_size, MAX_PAYLOAD_BYTES)
            except Refusal as refusal:
                decision = self.decider.skip_model("refused", refused=refusal.detail)
            else:
                payload = read_payload(path)
                decision = self.decider.decide(payload)
        return payload, {"file": path.name} | decision


def _without_quotes(decision: dict[str, Any]) -> dict[str, Any]:
    """Return a decision without what it quotes of a refused payload: a value, an unknown name."""
    refused = decision.get("refused")
    if not isinstance(refused, dict):
        return decision
    is_known = refused.get("field") in {"payload", "json", *contract().model_fields}
    hidden = {"value": HIDDEN} if is_known else {"value": HIDDEN, "field": HIDDEN}
    return decision | {"refused": refused | hidden}


def edge() -> None:
    """The command `edge`: decide on payloads from the inbox and the socket, until SIGTERM."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    lock = lock_folder(LOCK, "edge")
    for folder in (INBOX, REFUSED):
        with suppress(OSError):  # a read-only disk; the socket is still served
            folder.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        for draft in METRICS.parent.glob(f"{METRICS.name}.*"):  # of a process that was killed
            draft.unlink()
    device = Device()
    device.stop = stop
    device.outbox.export_metrics()
    if load_params().upload_url:
        device.uploader.start()
    listen(device.decider, device.record, device.health)
    print(f"Waiting for files in {INBOX}; decisions go to {OUTBOX}.", flush=True)
    notify("READY=1")
    loop_log = FailureLog("The device loop")
    while not stop.is_set():
        try:
            device.notify_watchdog()
            model_changed = device.decider.model.poll()
            device.drain_inbox()
            device.write_metrics(at_once=model_changed)
            loop_log.recover()
        except Exception as error:  # the next round may work, and the socket is served meanwhile
            loop_log.fail(error)
        stop.wait(POLL_S)
    notify("STOPPING=1")
    device.decider.model.stop()
    device.uploader.stop.set()
    device.write_metrics(at_once=True)
    device.outbox.close()
    if lock:
        lock.close()
    if device.decider.is_hanging():
        os._exit(1)  # Python would wait for the thread of the model, which never ends


@contextmanager
def start_predictor() -> Iterator[Callable[[bytes], dict[str, Any]]]:
    """Yield a function that decides on one payload, for `pipeline/benchmark.py`."""
    where = f"this machine ({platform.machine()}, {os.cpu_count()} cores)"
    print(f"Timing the device loop on {where}. Your device: docs/devices.md#latency-on-the-device")
    yield Decider().decide
