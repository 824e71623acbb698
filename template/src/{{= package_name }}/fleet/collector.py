"""The collector: stores batches from devices and exports the state of the fleet to Prometheus.

It replies 200 when a whole batch is on disk. Events that are sent twice are stored once.
"""

import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily as Family
from prometheus_client.registry import Collector

from ..device.json_http import JsonHandler
from ..device.wire_format import (
    MAX_BATCH_BYTES,
    Event,
    Telemetry,
    import_transport,
    parse_batch,
)
from ..monitoring.scope_limits import show_limits
from ..refusal import Refusal
from ..scope import load_params
from ..settings import is_authorized, read_keys
from .settings import CollectorSettings

COLLECTED = Path("data/collected.db")
# Each device has eight series. Devices choose their names: without a limit, a device that keeps
# changing its name would exhaust the memory of Prometheus.
MAX_DEVICES = 1000
PATHS = "POST batches to /events; GET /healthz or /metrics"
LAST_SEEN = "last_seen_timestamp_seconds"
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
"""
SAVE_DEVICE = """INSERT INTO devices VALUES (?, ?, ?) ON CONFLICT (device)
DO UPDATE SET seen_s = excluded.seen_s, telemetry = excluded.telemetry"""
# Runs with each batch. It deletes up to ten times the events of a batch, so it always catches up.
# That takes at most 0.1 s, for which a device waits.
DELETE_OLD = """DELETE FROM events WHERE rowid IN
(SELECT rowid FROM events WHERE received_s < ? ORDER BY received_s LIMIT 1000)"""


class Fleet(Collector):
    """All stored events and the latest telemetry of each device, in a SQLite file."""

    def __init__(self, path: Path = COLLECTED, keys: list[bytes] | None = None) -> None:
        self._keys = keys or []
        self._lock = Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(TABLES)

    def receive(self, body: bytes, key: str) -> tuple[int, dict[str, Any]]:
        """Store a batch; return an HTTP status and a reply."""
        try:
            if not is_authorized(key, self._keys):
                wrong = Refusal("x-api-key", "no known key", "a key of this collector", "...")
                return 401, {"detail": [wrong.detail]}
            if len(body) > MAX_BATCH_BYTES:
                limit = f"at most {MAX_BATCH_BYTES} bytes"
                wrong = Refusal("content-length", len(body), limit, 1000)
                return 413, {"detail": [wrong.detail]}
            telemetry, events = parse_batch(body)
            self.add(telemetry, events)
            return 200, {"stored": [event.id for event in events]}
        except Refusal as refusal:
            return 422, {"detail": [refusal.detail]}
        except sqlite3.Error as error:  # usually a full disk; the device keeps its events
            print(f"Nothing is stored: {error}", file=sys.stderr, flush=True)
            return 503, {"stored": []}

    def add(self, telemetry: Telemetry, events: list[Event]) -> None:
        """Store a batch. All of it is on disk when this returns, each event once.

        Events are deleted after `keep_days`; one that is sent again after that is stored again.
        """
        device = telemetry.device
        now_s = time.time()
        rows = [(device, event.id, now_s, json.dumps(event.decision)) for event in events]
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(DELETE_OLD, (now_s - 86400 * load_params().keep_days,))
            self._db.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?)", rows)
            self._db.execute(SAVE_DEVICE, (device, now_s, telemetry.model_dump_json()))

    def collect(self) -> Iterator[Family]:
        """Yield the total number of devices, and the gauges of the first `MAX_DEVICES`."""
        query = "SELECT seen_s, telemetry FROM devices ORDER BY rowid"
        with self._lock:
            rows = self._db.execute(query).fetchall()
        yield Family("devices", "Devices that have reported at least once", len(rows))
        shown = [json.loads(text) | {LAST_SEEN: seen_s} for seen_s, text in rows[:MAX_DEVICES]]
        for name, description in GAUGES.items():
            family = Family(f"device_{name}", description, labels=["device"])
            for device in shown:
                if device.get(name) is not None:
                    family.add_metric([device["device"]], device[name])
            yield family
        about = "Always 1; the labels are the model in use and the package version"
        info = Family("device_info", about, labels=INFO_LABELS)
        for device in shown:
            info.add_metric([device[name] or "" for name in INFO_LABELS], 1)
        yield info


class CollectorServer(ThreadingHTTPServer):
    """The HTTP server of a fleet; `/metrics` shows the content of `registry`."""

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
        body = self.read_body(MAX_BATCH_BYTES)
        if self.path != "/events":
            self.reply_json(404, {"detail": f"Nothing at {self.path}. {PATHS}."})
            return
        status, reply = self.server.fleet.receive(body, self.headers.get("x-api-key", ""))
        self.reply_json(status, reply)


def collect() -> None:
    """The command `collect`: receive batches until stopped; `fleet/settings.py` lists the options.

    If `<PACKAGE>_COLLECT_URL`, or else `upload_url`, is not an HTTP address, batches are also
    received from there.
    """
    settings = CollectorSettings.read()
    host = settings.collect_host
    port = settings.collect_port
    keys = read_keys("COLLECT_KEYS", settings.collect_keys, settings.collect_keys_file)
    COLLECTED.parent.mkdir(exist_ok=True)
    fleet = Fleet(keys=keys)
    url = settings.collect_url or load_params().upload_url
    if transport := import_transport("fleet", url):
        transport.subscribe(url, fleet.receive)
    with CollectorServer((host, port), fleet) as server:
        address = f"http://{host}:{server.server_port}/events"
        print(f"Collecting at {address} into {COLLECTED}.", flush=True)
        server.serve_forever()
