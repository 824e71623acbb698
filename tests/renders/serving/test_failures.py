"""Each failure of a server leaves a line in the log, and the server outlives what it can."""

import http.client
import json
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from repository import run_in
from server import Server, command, release, roll_out, serving, with_latency_limit
from test_canary import until

INFER = "/v2/models/scratch-detector/infer"
PLANT = "def fail(*_, **__): raise ValueError('planted')\n"


@pytest.fixture
def project(released: Path, tmp_path: Path) -> Path:
    shutil.copytree(released, tmp_path / "repo", symlinks=True)
    return tmp_path / "repo"


def lines(log: Path) -> list[dict[str, Any]]:
    """Return the JSON lines of a log."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def service(name: str, port: int = 80) -> dict[str, str]:
    """Return the variables that Kubernetes sets in each pod for a Service."""
    url, word = f"tcp://10.96.0.11:{port}", name.upper().replace("-", "_")
    variables = {"_SERVICE_HOST": "10.96.0.11", "_SERVICE_PORT": str(port), "_PORT": url}
    variables |= {"_SERVICE_PORT_HTTP": str(port), f"_PORT_{port}_TCP": url}
    variables |= {f"_PORT_{port}_TCP_PROTO": "tcp", f"_PORT_{port}_TCP_PORT": str(port)}
    variables |= {f"_PORT_{port}_TCP_ADDR": "10.96.0.11"}
    return {word + suffix: value for suffix, value in variables.items()}


def test_starts_beside_services_of_kubernetes(project: Path) -> None:
    names = ("scratch-detector", "scratch-detector-collect", "scratch-detector-keep-alive-s")
    env = {name: value for s in (*names, "kubernetes") for name, value in service(s).items()}
    code = "from scratch_detector.serving.settings import ServerSettings\n"
    code += "print(ServerSettings.read().port)"
    assert run_in(project, "python", "-c", code, **env).stdout == "8000\n"
    with socket.socket() as probe:
        is_free = probe.connect_ex(("127.0.0.1", 8000)) != 0
    if is_free:
        with serving(project, command="serve", port=8000, **env) as server:
            assert server.ask("/readyz").status == 200


def test_a_port_in_use_is_logged(project: Path, tmp_path: Path) -> None:
    with serving(project, command="serve", log=tmp_path / "first") as first:
        log = tmp_path / "second"
        with serving(project, command="serve", log=log, port=first.port) as second:
            assert second.process.wait(30) != 0
    assert "Serving on" in (tmp_path / "first").read_text()
    (line,) = lines(log)
    assert "address already in use" in line["message"] and "Serving on" not in log.read_text()


@pytest.mark.parametrize(
    ("phase", "plant"),
    [
        ("load", "from scratch_detector.serving import app; app.load_champion = fail"),
        ("journal", "from scratch_detector.serving import app; app.open_journal = fail"),
        ("start-up", "from scratch_detector.serving import app; app.show_limits = fail"),
    ],
)
def test_a_start_that_fails_is_logged(
    phase: str, plant: str, project: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with serving(project, PLANT + plant, command="serve", log=log) as server:
        assert server.process.wait(30) != 0
    assert "ValueError: planted" in json.dumps(lines(log)[0]), phase
    assert "Serving on" not in log.read_text()


@pytest.mark.parametrize(
    ("path", "plant"),
    [
        ("/status", "from scratch_detector.serving import status; status.compare_limits = fail"),
        ("/predict", "from scratch_detector.serving import app; app.record = fail"),
        (INFER, "from scratch_detector.serving import open_inference as o; o.record = fail"),
    ],
)
def test_a_route_that_fails_is_logged_and_counted(
    path: str, plant: str, project: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with serving(project, PLANT + plant, log=log) as server:
        body = tensor(server) if path == INFER else None
        reply = server.ask(path, body)
        assert reply.status == 500 and ("error" in reply.json if path == INFER else True)
        assert server.metric('refusals_total{status="500"}') == 1
        assert server.metric("prediction_last_timestamp_seconds") == 0
    (line,) = [line for line in lines(log) if line["level"] == "ERROR"]
    assert "ValueError: planted" in line["exc_info"]


def test_a_background_task_that_fails_is_logged_and_started_again(
    project: Path, tmp_path: Path
) -> None:
    plant = """
from scratch_detector.serving import background, status
background.FIRST_PAUSE_S = 0.1
ends = [ValueError("planted")] * 2
async def fail_twice(state):
    if ends:
        raise ends.pop()
    await original(state)
original, status.watch_limits = status.watch_limits, fail_twice
"""
    log = tmp_path / "log"
    with serving(project, plant, log=log) as server:
        until(lambda: server.metric('background_failures_total{task="limits"}') == 2)
        until(lambda: server.metric('background_task_up{task="limits"}') == 1)
        assert server.metric('background_task_up{task="journal"}') == 1
    failed = [line for line in lines(log) if line["message"] == "background task failed"]
    assert [line["task"] for line in failed] == ["limits"] * 2 and "planted" in str(failed)


def test_a_worker_thread_that_ends_is_logged_and_no_request_hangs(
    project: Path, tmp_path: Path
) -> None:
    plant = """
from scratch_detector.serving import batching
def fail_at_last(self):
    jobs = original(self)
    if jobs:
        raise MemoryError("planted")
    return jobs
original = batching.DynamicBatcher._next_batch
batching.DynamicBatcher._next_batch, batching.QUICK_S = fail_at_last, 0
"""
    log = tmp_path / "log"
    with serving(project, with_latency_limit(5000) + plant, log=log) as server:
        assert [server.ask().status for _ in range(3)] == [500] * 3
        assert [server.ask(path).status for path in ("/healthz", "/v2/health/live")] == [500] * 2
        assert server.metric('background_task_up{task="batching"}') == 0
        assert server.metric('refusals_total{status="500"}') == 5
    (ended,) = [line for line in lines(log) if line["message"] == "background task failed"]
    assert ended["task"] == "batching" and "MemoryError: planted" in ended["exc_info"]


def test_a_stop_is_logged(project: Path, tmp_path: Path) -> None:
    with serving(project, log=tmp_path / "log") as server:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
    assert lines(tmp_path / "log")[-1]["signal"] == "SIGTERM"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "contains no key"),
        (b" \n\t\n", "contains no key"),
        (b"# a comment\n\n  # another\n", "contains no key"),
        (b"\xef\xbb\xbf", "contains no key"),
        (b"\xef\xbb\xbf# a comment\n", "contains no key"),
        ("key-1\n".encode("utf-16"), "is not UTF-8 text"),
        ("key-1\n".encode("utf-16-le"), "no HTTP header can hold"),
        ("ключ\n".encode(), "no HTTP header can hold"),
        (b"\x00\x01\xff", "is not UTF-8 text"),
        (None, "cannot read"),
    ],
)
def test_a_file_without_usable_keys_prevents_the_start(
    content: bytes | None, words: str, project: Path, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    env = {"SCRATCH_DETECTOR_API_KEYS_FILE": str(tmp_path / "keys")}
    code = "from scratch_detector.serving.app import serve; serve()"
    result = run_in(project, "python", "-c", code, **env)
    assert result.returncode == 1 and words in result.stderr and "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1 and "SCRATCH_DETECTOR_API_KEYS_FILE" in result.stderr


@pytest.mark.parametrize(
    "name",
    ["SCRATCH_DETECTOR_API_KEYS", "SCRATCH_DETECTOR_API_KEYS_FILE", "scratch_detector_api_keys"],
)
def test_an_empty_variable_for_keys_prevents_the_start(name: str, project: Path) -> None:
    code = "from scratch_detector.serving.app import serve; serve()"
    result = run_in(project, "python", "-c", code, **{name: ""})
    assert result.returncode == 1 and f"{name.upper()} contains no key" in result.stderr


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({}, "Cannot start: 192.0.2.1 is not a loopback address"),
        ({"API_KEYS": "a-key"}, "assign requested address"),
        ({"ALLOW_ANONYMOUS": "true"}, "assign requested address"),
        ({"ALLOW_ANONYMOUS": "true", "API_KEYS": ""}, "contains no key"),
    ],
    ids=["unset", "key", "allowed", "allowed, but empty"],
)
def test_without_keys_only_this_machine_has_access(
    more: dict[str, str], reason: str, project: Path, tmp_path: Path
) -> None:
    """The address is reserved for documentation: no server can listen on it."""
    env = {f"SCRATCH_DETECTOR_{name}": value for name, value in more.items()}
    env["SCRATCH_DETECTOR_HOST"] = "192.0.2.1"
    with serving(project, command="serve", log=tmp_path / "log", **env) as server:
        assert server.process.wait(30) in (1, 3)
    assert reason in (tmp_path / "log").read_text()


def test_keys_with_a_byte_order_mark_and_comments_work(project: Path, tmp_path: Path) -> None:
    content = "\ufefffirst-key # of the line\r\n# second-key\r\nthird-key\r\n"
    (tmp_path / "keys").write_bytes(content.encode())
    env = {"SCRATCH_DETECTOR_API_KEYS_FILE": str(tmp_path / "keys")}
    with serving(project, log=tmp_path / "log", **env) as server:
        statuses = {k: server.ask(x_api_key=k).status for k in ("first-key", "third-key")}
        assert set(statuses.values()) == {200}
        for word in ("line", "#", "of", "second-key", ""):
            assert server.ask(x_api_key=word).status == 401
    with serving(project, log=tmp_path / "open") as server:
        assert server.ask().status == 200
    warned = ["no API key is required" in (tmp_path / log).read_text() for log in ("log", "open")]
    assert warned == [False, True]


def test_a_damaged_journal_is_replaced_and_the_server_starts(project: Path, tmp_path: Path) -> None:
    with serving(project, with_latency_limit(5000), command="serve") as server:
        for number in range(300):
            server.ask(x_request_id=f"r-{number}")
        until(lambda: journal_rows(project) == 300)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(30)
    path = project / "data/journal.db"
    content = bytearray(path.read_bytes())
    for at in range(4096, len(content), 3 * 4096):
        content[at : at + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    with serving(
        project, with_latency_limit(5000), command="serve", log=tmp_path / "log"
    ) as server:
        label = server.ask(x_request_id="r-new").json["label"]
        assert send_label(server, "r-new", label) == (200, {"joined": True})
        assert server.metric("journal_damaged_total") == 1
        deleted = server.ask("/requests/r-1", method="DELETE")
        assert deleted.status == 202 and "journal.db.damaged" in deleted.json["not_yet"]
    assert path.with_name("journal.db.damaged").read_bytes() == content
    assert [line for line in lines(tmp_path / "log") if "damaged" in line["message"]]


def journal_rows(project: Path) -> int:
    with closing(sqlite3.connect(project / "data/journal.db")) as db:
        return int(db.execute("SELECT count(*) FROM requests").fetchone()[0])


def send_label(server: Server, id: str, label: str) -> tuple[int, Any]:
    body = json.dumps({"id": id, "label": label}).encode()
    reply = server.ask("/feedback", body, content_type="application/json")
    return reply.status, reply.json


def test_a_locked_journal_is_503_and_loses_nothing(project: Path) -> None:
    with serving(project, with_latency_limit(5000), command="serve") as server:
        label = server.ask(x_request_id="r-1").json["label"]
        until(lambda: journal_rows(project) == 1)
        with closing(sqlite3.connect(project / "data/journal.db", isolation_level=None)) as backup:
            backup.execute("BEGIN IMMEDIATE")
            deleted = server.ask("/requests/r-1", method="DELETE")
            assert deleted.status == 503 and int(deleted.headers["retry-after"]) > 0
            assert send_label(server, "r-1", label)[0] == 503
            assert server.ask(x_request_id="r-2").status == 200
        assert send_label(server, "r-2", label) == (200, {"joined": True})
        with closing(sqlite3.connect(project / "data/journal.db", isolation_level=None)) as backup:
            backup.execute("BEGIN")
            backup.execute("SELECT * FROM requests").fetchall()
            deleted = server.ask("/requests/r-1", method="DELETE")
            assert (deleted.status, deleted.json["rows"]) == (202, 1) and deleted.json["not_yet"]


@pytest.mark.parametrize("days", [40, -40])
def test_a_clock_that_steps_for_a_moment_deletes_nothing(
    days: int, project: Path, tmp_path: Path
) -> None:
    """The clock of the server steps while a file exists."""
    step = f"""
import os, time
now = time.time
time.time = lambda: now() + ({days} * 86_400 if os.path.exists("step") else 0)
from scratch_detector.serving import journal_file
journal_file.PRUNE_EVERY_S = 0
"""
    settings, log = with_latency_limit(5000) + step, tmp_path / "log"
    with serving(project, settings, command="serve", log=log) as server:
        labels = {f"r-{n}": server.ask(x_request_id=f"r-{n}").json["label"] for n in range(22)}
        for id in ("r-0", "r-1"):
            assert send_label(server, id, labels[id]) == (200, {"joined": True})
        (project / "step").touch()
        server.ask(x_request_id="during")
        time.sleep(0.6)
        until(lambda: server.metric("clock_steps_total") == 1)
        assert any("clock has stepped" in line["message"] for line in lines(log))
        (project / "step").unlink()
        server.ask(x_request_id="after")
        until(lambda: journal_rows(project) == 24)
    (project / "step").touch()  # also if it is wrong from the start
    with serving(project, with_latency_limit(5000) + step, command="serve") as server:
        assert server.metric("labelled_window_fill_ratio") == 2 / 200
        server.ask(x_request_id="last")
        until(lambda: journal_rows(project) == 25)


def test_a_label_sent_many_times_counts_once(project: Path) -> None:
    with serving(project, with_latency_limit(5000), command="serve") as server:
        right = server.ask(x_request_id="r-0").json["label"]
        wrong = next(name for name in ("fraud", "legitimate") if name != right)
        for _ in range(50):
            assert send_label(server, "r-0", wrong)[0] == 200
        assert server.metric("labelled_window_fill_ratio") == 1 / 200
        assert server.metric('labels_total{joined="yes"}') == 1
        assert server.ask("/requests/r-0", method="DELETE").json == {"rows": 2}
        assert server.metric("labelled_window_fill_ratio") == 0


def tensor(server: Server, payloads: int = 1, **more: Any) -> bytes:
    """Return the body of an Open Inference request."""
    data = [server.payload.decode()] * payloads
    payload = {"name": "payload", "datatype": "BYTES", "shape": [payloads], "data": data}
    return json.dumps({"inputs": [payload]} | more).encode()


def test_each_payload_has_an_id_that_the_answer_names(project: Path) -> None:
    with serving(project, with_latency_limit(5000), command="serve") as server:

        def infer(payloads: int, **more: Any) -> tuple[str, list[str]]:
            body = tensor(server, payloads, **more)
            reply = server.ask(INFER, body, content_type="application/json")
            assert reply.status == 200
            ids = reply.json["parameters"]["request_ids"].split()
            assert reply.headers["x-request-id"].split(",") == ids
            return reply.json["id"], ids

        assert infer(1, id="mine") == ("mine", ["mine"])
        assert infer(3, id="three") == ("three", ["three.0", "three.1", "three.2"])
        assert infer(1, id="mine") == ("mine", ["mine"]), "a client that tries again"
        server.ask(x_request_id="taken", body=b" " + server.payload)
        id, (again,) = infer(1, id="taken")
        assert id == "taken" and again != "taken"
        named = [again, "mine", "three.0", "three.1", "three.2", *infer(2)[1]]
        assert len(named) == 7
        label = server.ask(x_request_id="three.1", body=b" " + server.payload).json
        assert label["id"] not in named
        for known in named:
            assert send_label(server, known, label["label"]) == (200, {"joined": True})
        assert journal_rows(project) == 9
        assert infer(1, id=None)[0] != "None"


def test_labels_of_a_challenger_with_other_labels(project: Path) -> None:
    relabel = """
import json, onnx
from scratch_detector.artifacts import REFERENCE, SHIPPED
reference = json.loads(REFERENCE.read_text())
reference["labels"] = ["new-" + name for name in reference["labels"]]
REFERENCE.write_text(json.dumps(reference))
model = onnx.load(SHIPPED)
for item in model.metadata_props:
    if item.key == "labels":
        item.value = json.dumps(["new-" + name for name in json.loads(item.value)])
onnx.save(model, SHIPPED)
"""
    other = release(project, before=relabel)
    rules = {"canary__COMPARED_SHARE": 0, "canary__STEPS": "(1.0,)"}
    with serving(project, with_latency_limit(5000, **rules), command="serve") as server:
        old = server.ask(x_request_id="old").json["label"]
        command(project, "challenge", other)
        until(lambda: server.challenger_share(other) == 1)
        new = server.ask(x_request_id="new").json["label"]
        assert new == f"new-{old}"
        assert send_label(server, "new", new) == (200, {"joined": True})
        assert send_label(server, "old", old) == (200, {"joined": True})
        for id, label in (("old", new), ("new", old), ("unknown", "no such label")):
            assert send_label(server, id, label)[0] == 422


def test_a_release_that_arrives_late_is_served(project: Path, tmp_path: Path) -> None:
    late = release(project, "again")
    folder = project / "releases" / late
    folder.rename(tmp_path / late)
    log = tmp_path / "log"
    with serving(project, with_latency_limit(5000), command="serve", log=log) as server:
        roll_out(project, champion=late)
        until(lambda: server.metric("rollout_mismatch") == 1)
        time.sleep(4)  # several tries
        assert server.metric('switches_total{outcome="refused"}') == 1
        shutil.copytree(tmp_path / late, folder)
        until(lambda: server.ask("/readyz").json["release"] == late)
        until(lambda: server.metric("rollout_mismatch") == 0)
    assert sum("release rejected" in line["message"] for line in lines(log)) == 1


@contextmanager
def no_free_file(project: Path, pid: int) -> Iterator[None]:
    """Leave a process no file descriptor, as a leak in it or in a library would."""
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    free = min(set(range(len(used) + 1)) - used)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, limits[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


@contextmanager
def no_free_space(project: Path, pid: int) -> Iterator[None]:
    """Fill the disk of the journal."""
    with (project / "data/other").open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))
    yield
    (project / "data/other").unlink()


@pytest.fixture
def small_data(project: Path, tmp_path: Path) -> Iterator[None]:
    """Put the data of the project on a separate disk."""
    (project / "data").rename(tmp_path / "data")
    (project / "data").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(project / "data")]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("NOT TESTED: a full disk, because mounts are not permitted")
    for example in (tmp_path / "data").glob("example.*"):
        shutil.copy(example, project / "data")
    yield
    subprocess.run(["umount", str(project / "data")], check=True)


@pytest.mark.parametrize("shortage", [no_free_file, no_free_space])
def test_a_shortage_during_a_switch_is_survived(
    shortage: Any, project: Path, small_data: None, tmp_path: Path
) -> None:
    """The old model answers meanwhile, and the new one follows without another command."""
    other = release(project, "again")
    log = tmp_path / "log"
    with serving(project, with_latency_limit(5000), command="serve", log=log) as server:
        old = server.ask("/readyz").json["release"]
        label = server.ask(x_request_id="before").json["label"]
        until(lambda: journal_rows(project) == 1)
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        kept.connect()

        def ask(path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
            kept.request("POST" if body else "GET", path, body, headers)
            reply = kept.getresponse()
            return reply.status, json.loads(reply.read())

        assert ask("/readyz")[1]["release"] == old
        with shortage(project, server.process.pid):
            roll_out(project, champion=other)
            for n in range(20):
                id = {"x-request-id": f"during-{n}", "content-type": server.kind}
                assert ask("/predict", server.payload, **id)[0] == 200
                time.sleep(0.1)
            if shortage is no_free_file:
                assert ask("/readyz")[1]["release"] == old
        until(lambda: ask("/readyz")[1]["release"] == other)
        until(lambda: server.metric("rollout_mismatch") == 0)
        until(lambda: journal_rows(project) == 21)
        assert send_label(server, "during-19", label) == (200, {"joined": True})
        assert server.metric('refusals_total{status="500"}') == 0
        failed = [line for line in lines(log) if line["level"] in ("ERROR", "WARNING")]
        words = "Too many open files" if shortage is no_free_file else "full"
        assert any(words in json.dumps(line) for line in failed), failed


def test_two_hosts_are_rejected(project: Path) -> None:
    with serving(project) as server:
        for hosts, status in ((1, b"200"), (2, b"400")):
            with server.connect() as connection:
                host = b"host: x\r\n" * hosts
                connection.sendall(b"GET /healthz HTTP/1.1\r\n" + host + b"\r\n")
                assert connection.recv(1000).startswith(b"HTTP/1.1 " + status)


def read_health(connection: socket.socket) -> None:
    connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    answer = b""
    while not answer.endswith(b'{"status":"alive"}'):
        part = connection.recv(1000)
        assert part, answer
        answer += part


def test_a_kept_connection_outlives_load_balancers(project: Path) -> None:
    with serving(project) as server, server.connect() as kept:
        read_health(kept)
        time.sleep(6)
        read_health(kept)
    with serving(project, SCRATCH_DETECTOR_KEEP_ALIVE_S="1") as server, server.connect() as kept:
        read_health(kept)
        assert kept.recv(1000) == b""
    code = "from scratch_detector.serving.settings import ServerSettings as S; print(S.read())"
    assert "keep_alive_s=75" in run_in(project, "python", "-c", code).stdout


def test_a_half_closed_connection_gets_its_answer(project: Path) -> None:
    slow = """
import asyncio
from scratch_detector.serving import batching
async def predict_slowly(*arguments):
    await asyncio.sleep(0.3)
    return await original(*arguments)
original, batching.DynamicBatcher.predict = batching.DynamicBatcher.predict, predict_slowly
"""
    with serving(project, with_latency_limit(5000) + slow) as server, server.connect() as half:
        half.sendall(server.head(len(server.payload)) + server.payload)
        half.shutdown(socket.SHUT_WR)
        answer = b""
        while part := half.recv(1000):
            answer += part
        assert b" 200 " in answer and b"confidence" in answer


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: 100\r\n\r\nhalf",
    ],
    ids=["silent", "blank lines", "idle", "half a body"],
)
def test_probes_get_through_many_open_connections(start: bytes, project: Path) -> None:
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    settings = with_latency_limit(5000, http_server__HEAD_S=60, inference__BODY_S=60)
    with serving(project, settings) as server:
        crowd = [server.connect() for _ in range(1500)]
        try:
            for connection in crowd:
                with suppress(OSError):  # closed to make room
                    connection.sendall(start)
            for path in ("/healthz", "/readyz", "/metrics", "/predict"):
                assert server.ask(path).status == 200, path
        finally:
            for connection in crowd:
                connection.close()


def test_requests_to_this_machine_use_no_proxy(project: Path) -> None:
    proxy = {name: "http://127.0.0.1:9" for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY")}
    (check,) = [
        line.strip()
        for line in (project / "deploy/Dockerfile").read_text().splitlines()
        if line.strip().startswith('["python", "-c",')
    ]
    with serving(project) as server:
        words = [word.replace(":8000", f":{server.port}") for word in json.loads(check)]
        assert run_in(project, *words, **proxy).returncode == 0
        url = f"http://127.0.0.1:{server.port}/metrics"
        env = proxy | {"SCRATCH_DETECTOR_METRICS_URL": url}
        result = run_in(project, "python", "-m", "scratch_detector", "monitor", **env)
        assert "no data yet" in result.stdout


def test_head_is_get_without_a_body(project: Path) -> None:
    paths = ("/", "/status", "/healthz", "/readyz", "/metrics", "/v2", "/v2/health/live")
    with serving(project) as server:
        for path in paths:
            for connection in ("keep-alive", "close"):
                reply = server.ask(path, method="HEAD", connection=connection)
                assert (reply.status, reply.body) == (200, b"")
                assert reply.headers["content-length"] != "0"
        assert server.ask(method="HEAD").status == 405


def test_a_response_is_sent_in_one_piece(project: Path) -> None:
    """A second write per response would be a second system call, and wake the client twice."""
    with serving(project) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        for path, end in (("/healthz", b'{"status":"alive"}'), ("/x", b'{"detail":"Not Found"}')):
            client.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            assert client.recv(65_536).endswith(end)


def test_a_compressed_body_is_rejected_by_name(project: Path) -> None:
    with serving(project) as server:
        for path in ("/predict", "/feedback", INFER):
            reply = server.ask(path, server.payload, content_encoding="gzip")
            assert reply.status == 415 and b"content-encoding" in reply.body
        assert server.ask(content_encoding="identity").status == 200


LABELS = ("fraud", "legitimate")
ODD: list[Any] = [None, "x", 1, -1, 1.5, True, [], [1], {}, [{}], [None], {"name": "label"}]
ODD += [[{"name": [1]}], [{"name": "nope"}], [{"name": "label", "parameters": 3}], "\ud800"]
ODD += [[{"name": "label", "parameters": {"binary_data": True}}], {"binary_data_output": True}]
ODD += [{"\ud800": 1}, 10**400, "x" * 100_000]


def test_odd_json_is_never_a_server_error_and_answers_are_counted(project: Path) -> None:
    with serving(project, with_latency_limit(5000)) as server:
        good = json.loads(tensor(server, 2))
        answers = 0

        def send(body: bytes) -> None:
            nonlocal answers
            reply = server.ask(INFER, body, content_type="application/json")
            assert reply.status in (200, 400, 413, 422), (reply.status, body[:200])
            assert reply.status == 200 or list(reply.json) == ["error"]
            answers += 2 * (reply.status == 200)

        for odd in ODD:
            for key in ("outputs", "parameters", "inputs", "id"):
                send(json.dumps(good | {key: odd}).encode())
            for key in ("name", "datatype", "shape", "data", "parameters"):
                send(json.dumps(good | {"inputs": [good["inputs"][0] | {key: odd}]}).encode())
            send(json.dumps(odd).encode())
        for nested in (b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"NaN", b'{"id": NaN}'):
            send(nested)
        mixed = json.loads(tensor(server, 2))
        mixed["inputs"][0]["data"][1] = "no json"
        send(json.dumps(mixed).encode())
        total = sum(server.metric(f'predictions_total{{label="{x}"}}') for x in LABELS)
        assert answers > 0 and total == answers
        assert server.metric('refusals_total{status="500"}') == 0


def test_only_the_requested_outputs_and_known_versions(project: Path) -> None:
    model = INFER.removesuffix("/infer")
    with serving(project, with_latency_limit(5000)) as server:
        (version,) = server.ask(model).json["versions"]
        at = f"{model}/versions/{version}"
        assert [server.ask(path).status for path in (at, f"{at}/ready")] == [200, 200]
        for path in (INFER, f"{at}/infer"):
            body = tensor(server, outputs=[{"name": "label"}])
            reply = server.ask(path, body, content_type="application/json")
            assert [output["name"] for output in reply.json["outputs"]] == ["label"]
            assert reply.json["model_version"] == version
        unknown = server.ask(f"{model}/versions/1/ready")
        assert unknown.status == 404 and "1" in unknown.json["error"]
        for path in ("/v2/models/other", "/v2/models/other/infer", "/v2/none"):
            assert list(server.ask(path).json) == ["error"]


def test_triton_reads_errors_versions_and_single_outputs(project: Path) -> None:
    import numpy as np
    from tritonclient import http as triton
    from tritonclient.utils import InferenceServerException

    with serving(project, with_latency_limit(5000)) as server:
        client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
        tensor = triton.InferInput("payload", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([server.payload], dtype=np.object_))
        name = "scratch-detector"
        (version,) = client.get_model_metadata(name)["versions"]
        assert client.is_model_ready(name, version) and not client.is_model_ready(name, "1")
        outputs = [triton.InferRequestedOutput("label")]
        result = client.infer(name, [tensor], version, outputs, request_id="mine")
        assert result.as_numpy("label") is not None and result.as_numpy("confidence") is None
        assert result.get_response()["id"] == "mine"
        with pytest.raises(InferenceServerException) as unknown:
            client.infer(name, [tensor], outputs=[triton.InferRequestedOutput("nope")])
        assert "decoding the response" not in str(unknown.value) and "nope" in str(unknown.value)
        with pytest.raises(InferenceServerException, match="Not Found"):
            client.infer("other", [tensor])
