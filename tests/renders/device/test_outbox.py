"""Outbox and collector under kills, power cuts, full disks and network failures.

The device of `inside/device.py` and the collector of a project run as processes. Random times are
seeded.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, Render
from environment import environment, requirements, variables

TIMEOUT_S = 60
DEVICE = str(ROOT / "tests/support/inside/device.py")
SHORT_AND_LONG = [3, pytest.param(12, marks=pytest.mark.matrix)]


@pytest.fixture
def folder(render: Render, tmp_path: Path) -> Path:
    """Return a project for devices with a small outbox and without a model."""
    shutil.copytree(render(modality="tabular", target="edge"), tmp_path / "repo")
    settings(tmp_path / "repo", "outbox_mb: 8", "outbox_mb: 1")
    return tmp_path / "repo"


def settings(folder: Path, old: str, new: str) -> None:
    text = (folder / "params.yaml").read_text()
    assert text.count(old) == 1
    (folder / "params.yaml").write_text(text.replace(old, new))


def start(
    folder: Path,
    *command: str,
    within: tuple[str, ...] = (),
    stderr: int | None = None,
    **env: str,
) -> Any:
    place = environment(requirements(folder))
    return subprocess.Popen(
        [*within, str(place / "bin/python"), *command],
        cwd=folder,
        env=variables(folder, place) | {"PYTHONDONTWRITEBYTECODE": "1"} | env,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def end(process: Any) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def device(folder: Path, count: int, *more: str, **how: Any) -> Any:
    return start(folder, DEVICE, str(count), *more, **how)


def collector(folder: Path, port: int = 0, **how: Any) -> tuple[Any, int]:
    how = {"SCRATCH_DETECTOR_COLLECT_PORT": str(port)} | how
    process = start(folder, "-m", "scratch_detector", "collect", **how)
    url = process.stdout.readline().split()[2]
    return process, int(url.rsplit(":", 1)[1].partition("/")[0])


def until(true: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until a condition is true."""
    last_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < last_s, "timeout"
        time.sleep(0.02)


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)) as db:
        return db.execute(query).fetchall()


def number(path: Path, query: str) -> int:
    return int(rows(path, query)[0][0])


def logged(folder: Path) -> list[int]:
    path = folder / "puts.log"
    return [int(n) for n in path.read_text().splitlines()] if path.exists() else []


def waiting(folder: Path) -> list[int]:
    bodies = rows(folder / "box.db", "SELECT body FROM waiting ORDER BY seq")
    return [json.loads(body)["number"] for (body,) in bodies]


def delivered(folder: Path) -> list[int]:
    decisions = rows(folder / "data/collected.db", "SELECT decision FROM events ORDER BY id")
    return [json.loads(decision)["number"] for (decision,) in decisions]


def put(folder: Path) -> int:
    """Return the number of puts, including those repeated after a kill."""
    return number(folder / "box.db", "SELECT seq FROM sqlite_sequence WHERE name = 'waiting'")


def dropped(folder: Path) -> int:
    return number(folder / "box.db", "SELECT total FROM dropped")


@pytest.mark.parametrize("rounds", SHORT_AND_LONG)
def test_kills_of_device_and_collector_lose_no_event(folder: Path, rounds: int) -> None:
    rng = random.Random(rounds)
    server, port = collector(folder)
    settings(folder, 'upload_url: ""', f"upload_url: http://127.0.0.1:{port}/events")
    try:
        for _ in range(rounds):
            before = len(logged(folder))
            sender = device(folder, 10**6, PAUSE_S="0.002")
            until(lambda before=before: len(logged(folder)) > before + 5)
            time.sleep(rng.uniform(0, 0.5))
            end(server)
            kept = set(delivered(folder)) | set(waiting(folder))
            server, _ = collector(folder, port)
            got = len(delivered(folder))
            until(lambda got=got: len(delivered(folder)) > got)
            time.sleep(rng.uniform(0, 0.3))
            end(sender)
            kept = set(delivered(folder)) | set(waiting(folder))
            assert set(logged(folder)) <= kept
        total = len(logged(folder)) + 10
        sender = device(folder, total)
        until(lambda: len(logged(folder)) == total and not waiting(folder))
        end(sender)
    finally:
        end(server)
    assert delivered(folder) == logged(folder) == list(range(total))  # each exactly once
    assert dropped(folder) == 0 and total <= put(folder) <= total + rounds


def test_kills_while_the_outbox_is_created_lose_no_event(folder: Path) -> None:
    rng = random.Random(1)
    settings(folder, "outbox_mb: 1", "outbox_mb: 48")
    for _ in range(6):
        sender = device(folder, 10**6)
        until((folder / "box.db").exists)
        time.sleep(rng.uniform(0, 0.3))
        end(sender)
    assert device(folder, len(logged(folder)) + 10).wait(TIMEOUT_S) == 0
    assert set(waiting(folder)) == set(logged(folder)) and dropped(folder) == 0
    sizes = [path.stat().st_size for path in folder.glob("box.db*")]
    assert 47e6 < sum(sizes) <= 48e6


COLLECTING = """
import signal, sys
from scratch_detector.device.wire_format import Event, Telemetry
from scratch_detector.fleet.collector import Fleet
from pathlib import Path
fleet = Fleet(Path("box.db"))
fleet._db.execute(f"PRAGMA synchronous={sys.argv[2]}")
telemetry = Telemetry(device="a", version="1", model_sha256=None, latency_p95_ms=None,
  drift_score_max=None, disk_free_bytes=1, outbox_depth=1, outbox_dropped=0)
with open("puts.log", "a") as log:
    for n in range(int(sys.argv[1])):
        fleet.add(telemetry, [Event(id=f"{n:064x}", decision={"number": n})])
        print(n, file=log, flush=True)
print("all are put", flush=True)
signal.pause()
"""
KINDS = {
    "outbox": ("SELECT body FROM waiting", [DEVICE]),
    "collector": ("SELECT decision FROM events", ["-c", COLLECTING]),
}


@pytest.fixture(scope="session")
def power_cut(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build a library that keeps a copy of each file as of its last sync."""
    if not (compiler := shutil.which("cc")):
        pytest.skip("NOT TESTED: power cuts, because there is no C compiler")
    built = tmp_path_factory.mktemp("power_cut") / "power_cut.so"
    source = ROOT / "tests/support/inside/power_cut.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", built, source, "-ldl"], check=True)
    return str(built)


def after_power_cut(folder: Path, rng: random.Random) -> Path:
    """Write files as a disk may hold them after a power cut: synced data and random later writes.

    Each later page of the database may be missing; the log may end at any byte and in garbage.
    """
    place = folder / "cut"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    now, synced = bytearray((folder / "box.db").read_bytes()), folder / "box.db.synced"
    then = synced.read_bytes()
    for at in range(0, min(len(now), len(then)), 4096):
        if rng.random() < 0.5:
            now[at : at + 4096] = then[at : at + 4096]
    (place / "box.db").write_bytes(now)
    log, kept = (folder / "box.db-wal").read_bytes(), folder / "box.db-wal.synced"
    old = kept.read_bytes() if kept.exists() else b""
    old += bytes(len(log) - len(old))
    since = [at for at, (a, b) in enumerate(zip(log, old, strict=False)) if a != b]
    cut = rng.choice(since) if since else len(log)
    garbage = rng.randbytes(rng.randrange(2000))
    ends = log[:cut] + (garbage + old[cut + len(garbage) :] if since else b"")
    (place / "box.db-wal").write_bytes(ends)
    return place / "box.db"


def lost_to_power_cuts(
    folder: Path, library: str, kind: str, synchronous: str, rounds: int
) -> tuple[int, int]:
    """Return how many confirmed rows are lost, and how many were confirmed."""
    query, command = KINDS[kind]
    rng, lost, of = random.Random(rounds), 0, 0
    for _ in range(rounds):
        for path in [*folder.glob("box.db*"), *folder.glob("puts.log")]:
            path.unlink()
        env = {"LD_PRELOAD": library, "POWER_CUT": str(folder / "box.db")}
        count, amid = rng.randrange(30, 150), rng.random() < 0.5
        process = start(folder, *command, str(count), synchronous, **env)
        if amid:  # most likely during a put
            until(lambda count=count: len(logged(folder)) > count / 2)
        else:
            assert process.stdout.readline() == "all are put\n"
        end(process)
        for _ in range(15):
            box = after_power_cut(folder, rng)
            with closing(sqlite3.connect(box)) as db:
                assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                kept = {json.loads(body)["number"] for (body,) in db.execute(query)}
            assert kept == set(range(len(kept)))
            lost += len(set(logged(folder)) - kept)
            of += len(logged(folder))
    return lost, of


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rounds", SHORT_AND_LONG)
def test_power_cuts_lose_no_confirmed_row(
    folder: Path, power_cut: str, kind: str, rounds: int
) -> None:
    lost, of = lost_to_power_cuts(folder, power_cut, kind, "FULL", rounds)
    assert lost == 0 < of


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_power_cuts_lose_rows_without_syncs(folder: Path, power_cut: str, kind: str) -> None:
    lost, _ = lost_to_power_cuts(folder, power_cut, kind, "NORMAL", 6)
    assert lost > 0


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """Return the project on a separate disk of 4 MB."""
    disk = folder.parent / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("NOT TESTED: a full disk, because mounts are not permitted")
    try:
        shutil.copytree(folder, disk, dirs_exist_ok=True)
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path) -> None:
    """Fill the disk to the last byte, as another program could."""
    with (disk / "log-of-another").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            assert shutil.disk_usage(disk).free == 0


def test_full_disk_keeps_the_newest_events(small_disk: Path) -> None:
    elsewhere = small_disk.parent / "puts.log"
    elsewhere.touch()
    (small_disk / "puts.log").symlink_to(elsewhere)  # not on the disk that is full
    assert device(small_disk, 1).wait(TIMEOUT_S) == 0
    fill(small_disk)
    for count in (2000, 2500, 6000):  # each time the process starts on a full disk
        assert device(small_disk, count).wait(TIMEOUT_S) == 0
        kept = waiting(small_disk)
        assert kept == list(range(count - len(kept), count))
        assert len(kept) + dropped(small_disk) == count == put(small_disk)
    sender = device(small_disk, 10**6)
    until(lambda: len(logged(small_disk)) > 7000)
    end(sender)
    count = len(logged(small_disk)) + 100
    assert device(small_disk, count).wait(TIMEOUT_S) == 0
    kept = waiting(small_disk)
    assert kept[-50:] == list(range(count - 50, count)) and dropped(small_disk) > 0
    assert len(kept) + dropped(small_disk) == put(small_disk) in (count, count + 1)
    assert shutil.disk_usage(small_disk).free == 0


def test_put_waits_for_a_reader_on_a_full_disk(small_disk: Path) -> None:
    assert device(small_disk, 200).wait(TIMEOUT_S) == 0
    shutil.move(small_disk / "puts.log", small_disk.parent / "puts.log")
    (small_disk / "puts.log").symlink_to(small_disk.parent / "puts.log")
    fill(small_disk)
    with closing(sqlite3.connect(small_disk / "box.db")) as db:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM waiting").fetchone()  # the log cannot restart now
        sender = device(small_disk, 400)
        until(lambda: len(logged(small_disk)) > 200)
        time.sleep(0.5)
        db.rollback()
        assert sender.wait(TIMEOUT_S) == 0
    assert waiting(small_disk) == list(range(400)) and dropped(small_disk) == 0


def test_names_the_runbook_if_the_disk_has_no_room_for_the_outbox(small_disk: Path) -> None:
    fill(small_disk)
    place = environment(requirements(small_disk))
    run = subprocess.run(
        [str(place / "bin/python"), DEVICE, "1"],
        cwd=small_disk,
        env=variables(small_disk, place) | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1 and "runbook/devices.md#outbox-file" in run.stderr
    assert "Traceback" not in run.stderr


def test_events_stay_on_the_device_while_the_collectors_disk_is_full(
    folder: Path, small_disk: Path
) -> None:
    server, port = collector(small_disk)
    settings(folder, 'upload_url: ""', f"upload_url: http://127.0.0.1:{port}/events")
    fill(small_disk)
    sender = device(folder, 300)
    try:
        assert sender.stdout.readline() == "all are put\n"
        kept = set(waiting(folder))
        assert len(kept) > 250 and kept | set(delivered(small_disk)) == set(range(300))
        (small_disk / "log-of-another").unlink()
        until(lambda: not waiting(folder))
    finally:
        end(sender)
        end(server)
    assert delivered(small_disk) == list(range(300))


class FaultyCollector(BaseHTTPRequestHandler):
    """A collector with a fault."""

    requests = 0

    def do_POST(self) -> None:
        type(self).requests += 1
        length = int(self.headers["content-length"])
        lines = self.rfile.read(length).split(b"\n")
        self.answer([json.loads(line)["id"] for line in lines[1:]])

    def answer(self, ids: list[str]) -> None:
        raise NotImplementedError

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Fails(FaultyCollector):
    def answer(self, ids: list[str]) -> None:
        self.reply(500, json.dumps({"stored": ids}).encode())


class Hangs(FaultyCollector):
    def answer(self, ids: list[str]) -> None:
        self.rfile.read(1)  # until the device disconnects


class StoresNothing(FaultyCollector):
    def answer(self, ids: list[str]) -> None:
        self.reply(200, b'{"stored": []}')


class Portal(FaultyCollector):
    def answer(self, ids: list[str]) -> None:
        self.reply(200, b"<html>Welcome to our network</html>")


class Malformed(FaultyCollector):
    def answer(self, ids: list[str]) -> None:
        self.reply(200, b'{"stored": [{}, 3]}')


class CutsTheAnswer(FaultyCollector):
    def answer(self, ids: list[str]) -> None:
        self.send_response(200)
        self.send_header("content-length", "100000")
        self.end_headers()
        answer = json.dumps({"stored": ids}).encode()
        self.wfile.write(answer[: len(answer) // 2])


class StoresAllButTheFirst(FaultyCollector):
    def answer(self, ids: list[str]) -> None:
        self.reply(200, json.dumps({"stored": [i for i in ids if int(i, 16)]}).encode())


@contextmanager
def serving(handler: type[FaultyCollector]) -> Iterator[int]:
    handler.requests = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


FAULTY = [Fails, Hangs, StoresNothing, Portal, Malformed, CutsTheAnswer, StoresAllButTheFirst]


@pytest.mark.parametrize("handler_class", FAULTY)
def test_faulty_collector_loses_no_event_and_blocks_no_put(
    folder: Path, handler_class: type[FaultyCollector]
) -> None:
    with serving(handler_class) as port:
        settings(folder, 'upload_url: ""', f"upload_url: http://127.0.0.1:{port}/events")
        sender = device(folder, 300)
        assert sender.stdout.readline() == "all are put\n"
        until(lambda: handler_class.requests >= 3)
        end(sender)
    assert waiting(folder) == list(range(300)) and dropped(folder) == 0


def root_only(what: str, *probe: str) -> None:
    if os.geteuid() or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip(f"NOT TESTED: {what}, because it is not permitted")


def test_puts_all_events_without_a_network(folder: Path) -> None:
    root_only("no network", "unshare", "-n", "true")
    settings(folder, 'upload_url: ""', "upload_url: http://collector.invalid/events")
    sender = device(folder, 300, within=("unshare", "-n"))
    assert sender.stdout.readline() == "all are put\n"
    end(sender)
    assert waiting(folder) == list(range(300))


@pytest.fixture
def two_networks() -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Create two connected network namespaces; return the command prefixes for both."""
    tag = f"p2p{os.getpid() % 100000}"
    root_only("a bad network", "ip", "netns", "add", f"{tag}a")
    try:
        for command in (
            f"ip netns add {tag}b",
            f"ip link add {tag}a netns {tag}a type veth peer name {tag}b netns {tag}b",
            f"ip -n {tag}a addr add 10.9.8.1/24 dev {tag}a",
            f"ip -n {tag}b addr add 10.9.8.2/24 dev {tag}b",
            f"ip -n {tag}a link set {tag}a up",
            f"ip -n {tag}b link set {tag}b up",
        ):
            if (run := subprocess.run(command.split(), capture_output=True, text=True)).returncode:
                pytest.skip(f"NOT TESTED: a bad network, because {run.stderr}")
        yield tuple(tuple(f"ip netns exec {tag}{side}".split()) for side in "ab")  # type: ignore
    finally:
        for side in "ab":
            subprocess.run(["ip", "netns", "delete", f"{tag}{side}"], capture_output=True)


@pytest.mark.long
def test_network_failures_lose_no_event(
    folder: Path, two_networks: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    near, far = two_networks
    settings(folder, 'upload_url: ""', "upload_url: http://10.9.8.2:8001/events")
    env = {"COLLECT_HOST": "10.9.8.2", "ALLOW_ANONYMOUS": "true"}
    env = {f"SCRATCH_DETECTOR_{name}": value for name, value in env.items()}
    server, _ = collector(folder, 8001, within=far, **env)
    link = f"ip link set {far[-1]}"
    lossy = "-m statistic --mode random --probability 0.3 -j DROP"
    faults = {  # the commands that start and end it
        "link down": (f"{link} down", f"{link} up"),
        "black hole": ("iptables -A INPUT -j DROP", "iptables -D INPUT -j DROP"),
        "replies lost": (f"iptables -A OUTPUT {lossy}", f"iptables -D OUTPUT {lossy}"),
    }
    sender = device(folder, 10**6, within=near, PAUSE_S="0.005")
    try:
        for begin, heal in faults.values():
            got = len(delivered(folder))
            until(lambda got=got: len(delivered(folder)) > got)
            subprocess.run([*far, *begin.split()], check=True)
            before = len(logged(folder))
            time.sleep(2)
            until(lambda before=before: len(logged(folder)) > before + 50)  # puts continue
            end(sender)
            sender = device(folder, 10**6, within=near, PAUSE_S="0.005")
            before = len(logged(folder))
            until(lambda before=before: len(logged(folder)) > before + 50)
            subprocess.run([*far, *heal.split()], check=True)
        end(sender)
        total = len(logged(folder)) + 10
        sender = device(folder, total, within=near)
        until(lambda: len(logged(folder)) == total and not waiting(folder))
    finally:
        end(sender)
        end(server)
    assert delivered(folder) == logged(folder) == list(range(total)) and dropped(folder) == 0
