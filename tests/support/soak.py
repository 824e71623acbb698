"""A server, a device, a collector and a broker under traffic, and the faults of a soak test.

Each fault checks that it left a line in a log and a number in a metric, and that what it hit works
again. A ledger keeps what was promised to clients, to compare it with what is stored at the end.
"""

import http.client
import json
import os
import random
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from environment import environment, requirements, variables
from server import roll_out, with_latency_limit
from test_outbox import rows, until

# The clock of a process steps while `step` exists. Times that would make the test wait are shorter.
PRELUDE = """
import time
now = time.time
def stepped():
    try:
        return now() + float(open("step").read())
    except (OSError, ValueError):
        return now()
time.time = stepped
"""
DEVICE = """
from scratch_detector.device import loop, report, retry
loop.METRICS_EVERY_S, report.FIRST_PAUSE_S, retry.CAP_S = 1, 1, 1
"""
COLLECTOR = """
from scratch_detector.device import report
from scratch_detector.fleet import collector
report.FIRST_PAUSE_S = collector.REOPEN_S = 1
"""
SERVER = """
from scratch_detector.serving import hot_swap, journal_file
journal_file.PRUNE_EVERY_S, hot_swap.MAX_PAUSE_S = 0, 2
"""
MODULES = {"server": SERVER, "device": DEVICE, "collector": COLLECTOR}
COMMANDS = {"server": "serve", "device": "edge", "collector": "collect"}
STARTED = {"server": '"ready"', "device": "Waiting for files", "collector": "Collecting at"}
DISK = "32m"
KEY = "soak-key"
MEMORY_MB = {"server": 512, "device": 256, "collector": 512}  # limits in deploy/
GARBAGE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 9000 + b"\r\n",
    b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n",
    b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    b"x-api-key: soak-key\r\ncontent-length: 50\r\n\r\nhalf",
    b"POST /predict HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
    b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
    bytes(range(256)) * 20,
]
BODIES = [b"{", b"[" * 100_000, b"\xff", b"null", b'{"id": NaN}', b"{}", b"[]" * 999, b"0" * 9999]


class Part:
    """One process, its folder and its log."""

    def __init__(self, name: str, folder: Path, port: int) -> None:
        self.name, self.folder, self.port = name, folder, port
        self.log = folder / "log"
        self.starts = 0
        self.process: Any = None
        self.env: dict[str, str] = {}

    def start(self) -> None:
        if self.name == "broker":
            program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")
            command = [str(program), "-c", str(self.folder / "settings")]
            env = dict(os.environ)
        else:
            place = environment(requirements(self.folder, "serve"))
            code = PRELUDE + MODULES[self.name]
            code += with_latency_limit(5000) if self.name == "server" else ""
            code += f"\nfrom scratch_detector import cli\ncli.run('{COMMANDS[self.name]}')"
            command = [str(place / "bin/python"), "-c", code]
            env = variables(self.folder, place) | self.env
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=env, stdout=log, stderr=log
            )
        self.starts += 1

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def is_started(self) -> bool:
        assert self.process.poll() is None, self.text()[-3000:]
        return self.text().count(STARTED[self.name]) >= self.starts

    def memory_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1000


def is_by_socket(decision: dict[str, Any]) -> bool:
    return "file" not in decision and "second_opinion" not in decision


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the socket of a device."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


class Soak:
    """The running system; the methods in the section of faults plant one each."""

    def __init__(self, parts: dict[str, Part], payload: str, seed: int) -> None:
        self.parts, self.payload = parts, payload
        self.rng = random.Random(seed)
        self.done = Counter[str]()
        # The ledger.
        self.replies = Counter[int]()
        self.unexpected: list[object] = []
        self.labelled: set[str] = set()
        self.kept_labels: set[str] = set()  # in files before they were damaged
        self.files: set[str] = set()
        self.by_socket = 0
        self.stored: set[str] = set()
        self.lost_with_a_file: set[str] = set()
        self.lost_by_socket = 0
        self.is_quiet = threading.Event()
        self.is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(work, pause_s), daemon=True)
            for work, pause_s in ((self._predict, 0.02), (self._feed, 0.05), (self._decide, 0.2))
        ]

    # Requests

    def ask(
        self, name: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        part = self.parts[name]
        if name == "device":
            at = os.path.relpath(part.folder / "data/decide.sock")  # a socket's path is short
            connection: http.client.HTTPConnection = UnixConnection(at, timeout=20)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", part.port, timeout=20)
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        with closing(connection):
            connection.request("GET" if body is None else "POST", path, body, sent)
            reply = connection.getresponse()
            return reply.status, reply.read()

    def metric(self, name: str, metric: str) -> float:
        """Return the sum of a metric over its labels."""
        text = self.ask(name, "/metrics")[1].decode()
        lines = [line for line in text.splitlines() if line.startswith(metric)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def is_well(self, name: str) -> bool:
        with suppress(OSError, http.client.HTTPException):
            return self.ask(name, "/healthz")[0] == 200
        return False

    # Traffic

    def start(self) -> None:
        for name in ("broker", "collector", "server", "device"):
            self.parts[name].start()
        for name in STARTED:
            until(self.parts[name].is_started)
            until(lambda name=name: self.is_well(name))
        for thread in self._threads:
            thread.start()

    def _repeat(self, work: Callable[[int], None], pause_s: float) -> None:
        number = 0
        while not self.is_over.wait(pause_s):
            try:
                work(number)
            except (OSError, http.client.HTTPException):
                self.replies[0] += 1  # it is down; no promise was made
            except Exception as error:
                self.unexpected.append(error)
            number += 1

    def _predict(self, number: int) -> None:
        id = f"r-{number}"
        headers = {"content_type": "application/json", "x_api_key": KEY, "x_request_id": id}
        status, body = self.ask("server", "/predict", self.payload.encode(), **headers)
        self.replies[status] += 1
        if status not in (200, 503):
            self.unexpected.append((status, body))
        if status == 200:
            label = json.dumps({"id": json.loads(body)["id"], "label": json.loads(body)["label"]})
            status, told = self.ask("server", "/feedback", label.encode(), **headers)
            if status not in (200, 503):
                self.unexpected.append((status, told))
            if status == 200 and json.loads(told)["joined"]:
                self.labelled.add(json.loads(body)["id"])

    def _feed(self, number: int) -> None:
        inbox = self.parts["device"].folder / "data/inbox"
        name = f"{number}.json"
        with suppress(OSError):  # the disk is full
            (inbox / f".{name}").write_text(self.payload)
            (inbox / f".{name}").rename(inbox / name)
            self.files.add(name)

    def _decide(self, number: int) -> None:
        if not self.is_quiet.is_set():
            status, body = self.ask("device", "/decide", self.payload.encode())
            self.by_socket += status == 200
            if status != 200 or "label" not in json.loads(body):
                self.unexpected.append((status, body))

    # Faults

    def restart(self, name: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        part = self.parts[name]
        self.is_quiet.set()  # a decision of the socket is stored after its reply
        time.sleep(0.5)
        part.kill()
        meanwhile()
        time.sleep(self.rng.uniform(0, 1))
        part.start()
        if name != "broker":
            until(part.is_started)
            until(lambda: self.is_well(name))
        self.is_quiet.clear()

    def kill_server(self) -> None:
        self.restart("server")

    def kill_device(self) -> None:
        self.restart("device")

    def kill_collector(self) -> None:
        self.restart("collector")

    def kill_broker(self) -> None:
        collector = self.parts["collector"]
        losses = collector.text().count("no connection")
        failures = self.metric("device", "upload_failures_total")
        self.restart("broker")
        until(lambda: collector.text().count("no connection") > losses)
        until(lambda: self.metric("device", "upload_failures_total") > failures)

    def _step(self, name: str, metric: str) -> None:
        part = self.parts[name]
        days = self.rng.choice([-400, -40, 40, 400])
        (part.folder / "step").write_text(str(86_400 * days))
        if metric:
            until(lambda: self.metric(name, metric) >= 1)
            assert "clock has stepped" in part.text()
        time.sleep(1)
        (part.folder / "step").unlink()

    def step_clock_of_server(self) -> None:
        self._step("server", "clock_steps_total")

    def step_clock_of_collector(self) -> None:
        self._step("collector", "collector_clock_steps_total")

    def step_clock_of_device(self) -> None:
        self._step("device", "")

    def _fill(self, name: str, metric: str, words: str) -> None:
        part = self.parts[name]
        before, lines = self.metric(name, metric), part.text().count(words)
        other = part.folder / "data/log-of-another"

        def is_reported() -> bool:
            with suppress(OSError), other.open("ab", buffering=0) as file:  # also what is freed
                while True:
                    file.write(bytes(512))
            return self.metric(name, metric) > before and part.text().count(words) > lines

        until(is_reported)
        time.sleep(1)
        other.unlink()

    def fill_disk_of_server(self) -> None:
        self._fill("server", "journal_failed_writes_total", "full")
        self._wait_for_journal()

    def fill_disk_of_collector(self) -> None:
        self._fill("collector", 'collector_refusals_total{status="503"}', "Nothing is stored")
        until(lambda: self.metric("device", "outbox_depth") < 50)

    def fill_disk_of_device(self) -> None:
        """Decisions continue in the reserved space of the outbox, or in memory."""
        before = self.metric("device", "decisions_total")
        self._fill("device", "decisions_total", "metrics.prom failed")
        assert self.metric("device", "decisions_total") > before
        self._wait_for_disk_of_device()

    def _wait_for_disk_of_device(self) -> None:
        path = self.parts["device"].folder / "data/metrics.prom"
        since_s = time.time()
        until(lambda: path.exists() and path.stat().st_mtime > since_s + 1)

    def _wait_for_journal(self) -> None:
        path = self.parts["server"].folder / "data/journal.db"
        count = len(rows(path, "SELECT id FROM requests"))
        until(lambda: len(rows(path, "SELECT id FROM requests")) > count)

    def _damage(self, name: str, file: str, metric: str, keep: Callable[[Path], object]) -> None:
        part = self.parts[name]
        path = part.folder / "data" / file

        def damage() -> None:
            keep(path)
            with closing(sqlite3.connect(path)) as db:  # pages in the other file would repair it
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            content = bytearray(path.read_bytes())
            if self.rng.random() < 0.5:
                content[:100] = b"\xff" * 100
            else:
                for at in range(4096, len(content), 8192):
                    content[at : at + 4096] = b"\xff" * 4096
            path.write_bytes(content)

        lines = part.text().count("is damaged")
        self.restart(name, damage)
        until(lambda: self.metric(name, metric) >= 1)
        assert part.text().count("is damaged") > lines
        assert list(path.parent.glob(f"{file}.damaged*"))

    def damage_journal(self) -> None:
        def keep(path: Path) -> None:
            self.kept_labels |= {id for (id,) in rows(path, "SELECT id FROM labels")}

        self._damage("server", "journal.db", "journal_damaged_total", keep)

    def damage_outbox(self) -> None:
        def keep(path: Path) -> None:
            bodies = rows(path, "SELECT body FROM waiting")
            decisions = [json.loads(body) for (body,) in bodies]
            self.lost_with_a_file |= {d["file"] for d in decisions if "file" in d}
            self.lost_by_socket += sum(is_by_socket(d) for d in decisions)

        self._damage("device", "outbox.db", 'faults_total{kind="file"}', keep)

    def damage_database_of_collector(self) -> None:
        self._damage("collector", "collected.db", "collector_faults_total", self.remember)

    def remember(self, path: Path) -> None:
        """Note what the collector has stored."""
        self.stored |= {decision for (decision,) in rows(path, "SELECT decision FROM events")}

    def send_garbage_to_server(self) -> None:
        before = self.metric("server", "refusals_total")
        for body in BODIES:
            for path in ("/predict", "/feedback", "/v2/models/scratch-detector/infer"):
                headers = {"content_type": "application/json", "x_api_key": KEY}
                status, answer = self.ask("server", path, body, **headers)
                if status not in (400, 413, 415, 422, 503):
                    self.unexpected.append((path, body[:50], status, answer[:200]))
        self._send_raw("server")
        assert self.metric("server", "refusals_total") > before
        assert self.metric("server", 'refusals_total{status="500"}') == 0

    def send_garbage_to_collector(self) -> None:
        before = self.metric("collector", "collector_refusals_total")
        for body in BODIES:
            for key in (KEY, "wrong"):
                status, answer = self.ask("collector", "/events", body, x_api_key=key)
                if status not in (401, 403, 413, 422):
                    self.unexpected.append((body[:50], status, answer[:200]))
        self._send_raw("collector")
        assert self.metric("collector", "collector_refusals_total") >= before + 2 * len(BODIES)

    def send_garbage_to_device(self) -> None:
        before = self.metric("device", 'decisions_total{outcome="refused"}')
        for body in BODIES:
            self.by_socket += self.ask("device", "/decide", body)[0] == 200
        self._send_raw("device")
        inbox = self.parts["device"].folder / "data/inbox"
        number = self.done["send_garbage_to_device"]
        with (inbox / f"large-{number}.json").open("wb") as file:
            file.truncate(3_000_000_000)
        for name, body in enumerate(BODIES):
            (inbox / f"bad-{number}-{name}\n'.json").write_bytes(body)
        with suppress(FileExistsError):
            (inbox / "folder").mkdir()
            os.mkfifo(inbox / "pipe")
            (inbox / "link").symlink_to("/dev/zero")
        more = len(BODIES) + 1
        until(lambda: self.metric("device", 'decisions_total{outcome="refused"}') >= before + more)

    def _connect(self, name: str) -> socket.socket:
        part = self.parts[name]
        if name == "device":
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(5)
            connection.connect(os.path.relpath(part.folder / "data/decide.sock"))
            return connection
        return socket.create_connection(("127.0.0.1", part.port), timeout=5)

    def _send_raw(self, name: str) -> None:
        for garbage in GARBAGE:
            with suppress(OSError), self._connect(name) as connection:
                connection.sendall(garbage)
                connection.settimeout(0.2)
                connection.recv(1000)
        assert self.is_well(name)

    def read_slowly(self) -> None:
        """Clients that ask for much and read nothing."""
        name = self.rng.choice(["server", "collector", "device"])
        slow = []
        for _ in range(20):
            with suppress(OSError):
                slow.append(self._connect(name))
                slow[-1].settimeout(0.2)
                slow[-1].sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 300)
        for _ in range(10):
            assert self.is_well(name)
            time.sleep(0.2)
        assert self.parts[name].memory_mb() < MEMORY_MB[name]
        for connection in slow:
            connection.close()

    def spoil_rollout(self) -> None:
        server = self.parts["server"]
        path = server.folder / "releases/rollout.json"
        good = json.loads(path.read_text())
        refused = self.metric("server", 'switches_total{outcome="refused"}')
        lines = server.text().count("release rejected")
        spoilt = self.rng.choice(["{", "", "null", json.dumps(good | {"champion": "0" * 12})])
        path.write_text(spoilt)
        until(lambda: self.metric("server", "rollout_mismatch") == 1)
        assert self.metric("server", 'switches_total{outcome="refused"}') > refused
        until(lambda: server.text().count("release rejected") > lines)
        path.write_text(json.dumps(good))
        until(lambda: self.metric("server", "rollout_mismatch") == 0)

    def switch_release(self) -> None:
        path = self.parts["server"].folder / "releases/rollout.json"
        releases = {folder.parent.name for folder in path.parent.glob("*/manifest.json")}
        (other,) = releases - {json.loads(path.read_text())["champion"]}
        roll_out(self.parts["server"].folder, champion=other)
        until(lambda: other in self.ask("server", "/readyz")[1].decode())

    # The end

    def finish(self) -> None:
        """End the traffic, and wait until nothing is left to do."""
        self.is_over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"
        data = self.parts["device"].folder / "data"
        until(
            lambda: not list((data / "inbox").glob("[!.]*.json"))
        )  # hidden files are not complete
        until(lambda: self.metric("device", "outbox_depth") == 0)
        self.remember(self.parts["collector"].folder / "data/collected.db")

    def read_labels(self) -> set[str]:
        path = self.parts["server"].folder / "data/journal.db"
        with closing(sqlite3.connect(path)) as db:
            return {id for (id,) in db.execute("SELECT id FROM labels")} | self.kept_labels
