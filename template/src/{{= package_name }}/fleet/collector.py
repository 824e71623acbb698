"""The collector: keeps what devices send, and shows the fleet to Prometheus.

It answers 200 when all of a batch is on disk; what comes again is known by its id.
"""

import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily as Family
from prometheus_client.registry import Collector

from ..device.wire_format import MAX_BATCH_BYTES, Event, Telemetry, from_lines, uplink
from ..monitoring.scope_limits import show_limits
from ..refusal import Refusal
from ..scope import load_params
from ..settings import is_authorized, read_keys
from .settings import CollectorSettings

COLLECTED = Path("data/collected.db")
MAX_DEVICES = 1000  # with gauges of their own
LAST_SEEN, WHO = "last_seen_timestamp_seconds", ["device", "model_sha256", "version"]
TOLD = {name: f.description for name, f in Telemetry.model_fields.items() if f.description}
TABLES = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
CREATE TABLE IF NOT EXISTS events (device, id, received_s, decision, PRIMARY KEY (device, id));
CREATE INDEX IF NOT EXISTS by_age ON events (received_s);
CREATE TABLE IF NOT EXISTS devices (device PRIMARY KEY, seen_s, telemetry);
"""
SEEN = """INSERT INTO devices VALUES (?, ?, ?) ON CONFLICT (device)
DO UPDATE SET seen_s = excluded.seen_s, telemetry = excluded.telemetry"""
# At most this many with each batch, which is more than it brings: nobody ever waits for all.
PRUNE = """DELETE FROM events WHERE rowid IN
(SELECT rowid FROM events WHERE received_s < ? ORDER BY received_s LIMIT 1000)"""


class Fleet(Collector):
    """All events that were taken, and the last telemetry of each device, in one SQLite file."""

    def __init__(self, path: Path = COLLECTED, keys: list[bytes] | None = None) -> None:
        self._lock, self._keys = Lock(), keys or []
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(TABLES)

    def take(self, body: bytes, key: str) -> tuple[int, dict[str, Any]]:
        """Keep a batch, whatever brought it; return an HTTP status, and ids or what is wrong."""
        try:
            if not is_authorized(key, self._keys):
                wrong = Refusal("x-api-key", "no known key", "a key of this collector", "...")
                return 401, {"detail": [wrong.detail]}
            if len(body) > MAX_BATCH_BYTES:
                limit = f"at most {MAX_BATCH_BYTES} bytes"
                return 413, {"detail": [Refusal("content-length", len(body), limit, 1000).detail]}
            telemetry, events = from_lines(body)
            self.add(telemetry, events)
            return 200, {"stored": [event.id for event in events]}
        except Refusal as refusal:
            return 422, {"detail": [refusal.detail]}
        except sqlite3.Error as error:  # a full disk, most likely: the device keeps what it has
            print(f"Nothing is stored: {error}", file=sys.stderr, flush=True)
            return 503, {"stored": []}

    def add(self, told: Telemetry, events: list[Event]) -> None:
        """Keep a batch; all of it is on disk when this returns, each event once.

        Events go `keep_days` after they came, and are known again for as long.
        """
        now_s = time.time()
        rows = [(told.device, event.id, now_s, json.dumps(event.decision)) for event in events]
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(PRUNE, (now_s - 86400 * load_params().keep_days,))
            self._db.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?)", rows)
            self._db.execute(SEEN, (told.device, now_s, told.model_dump_json()))

    def collect(self) -> Iterator[Family]:
        """Yield gauges for each of the devices that came first, and how many there are in all."""
        with self._lock:
            rows = self._db.execute(
                "SELECT seen_s, telemetry FROM devices ORDER BY rowid"
            ).fetchall()
        yield Family("devices", "Devices that ever reported", len(rows))
        fleet = [json.loads(text) | {LAST_SEEN: seen_s} for seen_s, text in rows[:MAX_DEVICES]]
        for name, about in ({LAST_SEEN: "By the clock of the collector"} | TOLD).items():
            family = Family(f"device_{name}", about, labels=["device"])
            for told in fleet:
                if told.get(name) is not None:
                    family.add_metric([told["device"]], told[name])
            yield family
        info = Family("device_info", "Always 1; which model answers, in which package", labels=WHO)
        for told in fleet:
            info.add_metric([told[name] or "" for name in WHO], 1)
        yield info


class Handler(BaseHTTPRequestHandler):
    """One request of a device, or of Prometheus."""

    timeout = 10  # seconds, of each read
    fleet: Fleet
    registry: CollectorRegistry

    def do_GET(self) -> None:
        """Answer `/healthz` and `/metrics`."""
        if self.path == "/metrics":
            self._answer(200, generate_latest(self.registry), CONTENT_TYPE_LATEST)
        else:
            self._answer(200 if self.path == "/healthz" else 404, b"")

    def do_POST(self) -> None:
        """Take a batch at `/events`."""
        length = self.headers.get("content-length", "")
        size = int(length) if length.isdecimal() else 0
        body = self.rfile.read(min(size, 2 * MAX_BATCH_BYTES))  # who still sends hears no answer
        status, said = 404, dict[str, Any]()
        if self.path == "/events":
            status, said = self.fleet.take(body, self.headers.get("x-api-key", ""))
        self._answer(status, json.dumps(said).encode())

    def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response_only(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def collect() -> None:
    """Listen until told to stop; `<PACKAGE>_COLLECT_HOST` and `<PACKAGE>_COLLECT_PORT` say where.

    Where `<PACKAGE>_COLLECT_URL`, else `upload_url`, names a broker, batches also come from there.
    The keys are lines of the file `<PACKAGE>_COLLECT_KEYS_FILE`, or in `<PACKAGE>_COLLECT_KEYS`.
    """
    settings = CollectorSettings.read()
    host, port = settings.collect_host, settings.collect_port
    keys = read_keys("COLLECT_KEYS", settings.collect_keys, settings.collect_keys_file)
    COLLECTED.parent.mkdir(exist_ok=True)
    Handler.fleet = Fleet(keys=keys)
    Handler.registry = CollectorRegistry()
    Handler.registry.register(Handler.fleet)
    show_limits(Handler.registry)
    broker = settings.collect_url or load_params().upload_url
    if broker.startswith("mqtt"):
        uplink("fleet.mqtt").subscribe(broker, Handler.fleet.take)
    with ThreadingHTTPServer((host, port), Handler) as server:
        url = f"http://{host}:{server.server_port}/events"
        print(f"Collecting at {url} into {COLLECTED}.", flush=True)
        server.serve_forever()
