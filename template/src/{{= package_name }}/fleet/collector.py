"""The collector: stores batches from devices and exports the state of the fleet to Prometheus.

It replies 200 when a whole batch is on disk. Events that are sent twice are stored once.
"""

import sqlite3
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.server import HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Family
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ..device.json_server import BoundedServer, JsonHandler
from ..device.process_lock import lock_folder
from ..device.report import FailureLog, fault_count
from ..device.wire_format import (
    MAX_BATCH_BYTES,
    Telemetry,
    import_transport,
    parse_batch,
)
from ..monitoring.scope_limits import show_limits
from ..refusal import Refusal
from ..scope import load_params
from ..settings import check_anonymous_access
from .clock import STEPS
from .keys import Key, Keys, read_device_keys
from .settings import CollectorSettings
from .store import Store

COLLECTED = Path("data/collected.db")
LOCK = Path("data/collect.lock")
REOPEN_S = 5
STATUSES = (401, 403, 413, 422, 503)
# Each device has nine series. Devices choose their names: without a limit, a device that keeps
# changing its name would exhaust the memory of Prometheus.
MAX_DEVICES = 1000
PATHS = "POST batches to /events; GET /healthz or /metrics"
LAST_SEEN = "last_seen_timestamp_seconds"
MODEL_CURRENT = "model_current_timestamp_seconds"
INFO_LABELS = ["device", "model_sha256", "version"]
GAUGES = {
    LAST_SEEN: "Last report of the device, in seconds since 1970 by the collector's clock"
} | {name: field.description for name, field in Telemetry.model_fields.items() if field.description}
TABLES = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
CREATE TABLE IF NOT EXISTS events (device, id, received_s, decision, PRIMARY KEY (device, id));
CREATE INDEX IF NOT EXISTS by_age ON events (received_s);
CREATE TABLE IF NOT EXISTS devices (device PRIMARY KEY, seen_s, telemetry);
CREATE TABLE IF NOT EXISTS runs (device, run, PRIMARY KEY (device, run));
CREATE TABLE IF NOT EXISTS clock AS SELECT 0.0 AS trusted_s;
"""


class Fleet(Store, Collector):
    """Receives batches, and exports the latest telemetry of each device.

    Keys that are only bytes are shared by all devices.
    """

    def __init__(self, path: Path = COLLECTED, keys: Keys | list[bytes] | None = None) -> None:
        self._keys = keys if isinstance(keys, Keys) else Keys([Key(key) for key in keys or []])
        self._refusals: dict[int, int] = dict.fromkeys(STATUSES, 0)
        self._storing = FailureLog("Storing a batch")
        super().__init__(path, TABLES)

    def has_key(self, key: str) -> bool:
        """Return whether a key is accepted, for any device."""
        return not self._keys or self._keys.devices_of(key) is not None

    def receive(self, body: bytes | None, key: str) -> tuple[int, dict[str, Any]]:
        """Store a batch; return an HTTP status and a reply. No body: it was too large."""
        status, reply = self._receive(body, key)
        if status != HTTPStatus.OK:
            self._refusals[status] += 1
        return status, reply

    def _receive(self, body: bytes | None, key: str) -> tuple[int, dict[str, Any]]:
        try:
            devices = self._keys.devices_of(key) if self._keys else {""}
            if devices is None:
                wrong = Refusal("x-api-key", "no known key", "a key of this collector", "...")
                return 401, {"detail": [wrong.detail]}
            if body is None or len(body) > MAX_BATCH_BYTES:
                size, rule = "a larger batch", f"at most {MAX_BATCH_BYTES} bytes"
                wrong = Refusal("content-length", size, rule, 1000)
                return 413, {"detail": [wrong.detail]}
            telemetry, events = parse_batch(body)
            if not self._keys.may_speak(devices, telemetry.device):
                rule = "the key of this device"
                wrong = Refusal(
                    "x-api-key", f"the key of another than {telemetry.device}", rule, "..."
                )
                return 403, {"detail": [wrong.detail]}
            self.add(telemetry, events)
            self._storing.recover()
            return 200, {"stored": [event.id for event in events]}
        except Refusal as refusal:
            return 422, {"detail": [refusal.detail]}
        except (
            sqlite3.Error,
            OSError,
        ) as error:  # usually a full disk; the device keeps its events
            self._storing.fail(f"Nothing is stored: {error}")
            return 503, {"stored": []}

    def collect(self) -> Iterator[Metric]:
        """Yield the total number of devices, and the gauges of at most `MAX_DEVICES`.

        Devices with a key of their own come first: others that share a key may invent names.
        """
        yield from self._collect_counters()
        try:
            count, shown = self.devices(MAX_DEVICES, self._keys.names)
        except sqlite3.Error as error:  # the other series are still exported
            self._storing.fail(f"Reading the devices: {error}")
            return
        yield Family("devices", "Devices that have reported at least once", count)
        about = f"Devices without series of their own: there are more than {MAX_DEVICES}"
        yield Family("devices_not_shown", about, count - len(shown))
        now_s = time.time()
        for name, description in GAUGES.items():
            family = Family(f"device_{name}", description, labels=["device"])
            for device, age_s in shown:
                value = now_s - age_s if name == LAST_SEEN else getattr(device, name)
                if name == MODEL_CURRENT and value is not None:
                    # A later time than that of the report is due to the clock of the device.
                    value = min(value, now_s - age_s)
                if value is not None:
                    family.add_metric([device.device], value)
            yield family
        about = "Always 1; the labels are the model in use and the package version"
        info = Family("device_info", about, labels=INFO_LABELS)
        for device, _ in shown:
            info.add_metric([getattr(device, name) or "" for name in INFO_LABELS], 1)
        yield info

    def _collect_counters(self) -> Iterator[Metric]:
        about = "Batches that were not stored, by HTTP status"
        refusals = Counter("collector_refusals", about, labels=["status"])
        for status, count in self._refusals.items():
            refusals.add_metric([str(status)], count)
        yield refusals
        about = "Reports that were made before the last one, and so do not replace it"
        yield Counter("collector_stale_reports", about, self.stale_count)
        yield from STEPS.collect()
        about = "Damaged databases set aside, and threads started again"
        yield Counter("collector_faults", about, fault_count())


class CollectorServer(BoundedServer, HTTPServer):
    """The HTTP server of a fleet; `/metrics` shows the content of `registry`."""

    read_s = 60.0  # a batch of 1 MB, on a mobile link
    max_connections = 100  # with 1 MB each

    def __init__(self, address: tuple[str, int], fleet: Fleet) -> None:
        super().__init__(address, CollectorHandler)
        self.fleet = fleet
        # Not the registry of the process: that one has the gauges of a model.
        self.registry = CollectorRegistry()
        self.registry.register(fleet)
        show_limits(self.registry)


class CollectorHandler(JsonHandler):
    """One request of a device or of Prometheus."""

    server: CollectorServer

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self.reply(200, generate_latest(self.server.registry), CONTENT_TYPE_LATEST)
        elif self.path == "/healthz":
            self.reply(200, b"", "application/json")
        else:
            self.reply_json(404, {"detail": f"Nothing at {self.path}. {PATHS}."})

    def do_POST(self) -> None:
        key = self.headers.get("x-api-key", "")
        # Without a key, the body is not kept in memory.
        body = self.read_body(MAX_BATCH_BYTES if self.server.fleet.has_key(key) else 0)
        if self.path != "/events":
            self.reply_json(404, {"detail": f"Nothing at {self.path}. {PATHS}."})
            return
        status, reply = self.server.fleet.receive(body, key)
        self.reply_json(status, reply)


def _open_fleet(keys: Keys) -> Fleet:
    """Open the database, as soon as the disk allows it. Devices keep their events until then."""
    opening = FailureLog(f"Opening {COLLECTED}")
    while True:
        try:
            COLLECTED.parent.mkdir(exist_ok=True)
            fleet = Fleet(keys=keys)
        except (sqlite3.Error, OSError) as error:  # the disk is full, for example
            opening.fail(error)
            time.sleep(REOPEN_S)
        else:
            opening.recover()
            return fleet


def collect() -> None:
    """The command `collect`: receive batches until stopped; `fleet/settings.py` lists the options.

    If `<PACKAGE>_COLLECT_URL`, or else `upload_url`, is not an HTTP address, batches are also
    received from there.

    Raises:
        SystemExit: the keys or the address cannot be used, or it is running already.
    """
    settings = CollectorSettings.read()
    address = (settings.collect_host, settings.collect_port)
    url = settings.collect_url or load_params().upload_url
    transport = import_transport("fleet", url)
    keys = read_device_keys(settings)
    if not keys:
        broker = [urlsplit(url).hostname or url] if transport else []
        check_anonymous_access("COLLECT_KEYS", [settings.collect_host, *broker])
    lock = lock_folder(LOCK, "collect")
    fleet = _open_fleet(keys)
    if transport:
        transport.subscribe(url, fleet.receive)
    try:
        server = CollectorServer(address, fleet)
    except OSError as error:
        raise SystemExit(f"Cannot listen on {address[0]}:{address[1]}: {error}.") from None
    with server:
        shown = f"http://{address[0]}:{server.server_port}/events"
        print(f"Collecting at {shown} into {COLLECTED}.", flush=True)
        print(keys.describe(), flush=True)
        server.serve_forever()
    if lock:
        lock.close()
