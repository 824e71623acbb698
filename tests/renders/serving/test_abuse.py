"""One client of a server that takes what it can get; web pages that reach it through a browser.

On a real process. The addresses 127.0.0.1 and 127.0.0.2 are two clients.
"""

import http.client
import json
import re
import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from environment import ROOT
from repository import done, run_in
from server import Server, release, serving, with_latency_limit

GREEDY, OTHER = "127.0.0.2", "127.0.0.1"
INFER = "/v2/models/scratch-detector/infer"
ASKED = 30


@pytest.fixture
def project(released: Path, tmp_path: Path) -> Path:
    shutil.copytree(released, tmp_path / "repo", symlinks=True)
    return tmp_path / "repo"


@pytest.fixture
def slow(project: Path) -> Path:
    """A model that takes some milliseconds per payload."""
    script = str(ROOT / "tests/support/inside/fabricate.py")
    command = ("python", script, "slow", "models/shipped.onnx", "models/shipped.onnx")
    done(run_in(project, *command))
    return project


def ask(server: Server, address: str, path: str, body: bytes, **headers: str) -> int:
    """Send one request from an address; return the status, 0 if there is no response."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection(
        "127.0.0.1", server.port, timeout=90, source_address=(address, 0)
    )
    try:
        connection.request("POST", path, body, {"content-type": server.kind} | named)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def batch(server: Server, size: int) -> tuple[bytes, dict[str, str]]:
    """Return a request of the Open Inference Protocol with many payloads, in binary form."""
    tail = size * (struct.pack("<I", len(server.payload)) + server.payload)
    parameters = {"binary_data_size": len(tail)}
    tensor = {"name": "payload", "datatype": "BYTES", "shape": [size], "parameters": parameters}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"content_type": "application/octet-stream", "x_timeout_ms": "60000"}
    return head + tail, headers | {"inference_header_content_length": str(len(head))}


def send_batches(server: Server, stop: threading.Event) -> None:
    body, headers = batch(server, 64)
    while not stop.is_set():
        ask(server, GREEDY, INFER, body, **headers)


def send_patiently(server: Server, stop: threading.Event) -> None:
    while not stop.is_set():
        ask(server, GREEDY, "/predict", server.payload, x_timeout_ms="60000")


def hold_connections(server: Server, stop: threading.Event) -> None:
    """Open as many connections as possible, and begin a body on each that never ends."""
    held: list[socket.socket] = []
    while not stop.is_set():
        with socket.socket() as one:
            one.bind((GREEDY, 0))
            one.settimeout(1)
            try:
                one.connect(("127.0.0.1", server.port))
                one.sendall(server.head(1000) + b"x")
                held.append(one.dup())
            except OSError:
                time.sleep(0.05)
        del held[:-60]
    for one in held:
        one.close()


ABUSES: dict[str, tuple[Callable[[Server, threading.Event], None], int]] = {
    "batches": (send_batches, 4),
    "long timeouts": (send_patiently, 80),
    "connections": (hold_connections, 16),
}


@pytest.mark.parametrize("name", ABUSES)
def test_others_are_answered_while_one_client_takes_what_it_can(name: str, slow: Path) -> None:
    abuse, threads = ABUSES[name]
    with serving(slow, with_latency_limit(400)) as server:
        for _ in range(20):  # the server measures the time per request
            ask(server, OTHER, "/predict", server.payload)
        stop = threading.Event()
        greedy = [threading.Thread(target=abuse, args=(server, stop)) for _ in range(threads)]
        for thread in greedy:
            thread.start()
        try:
            time.sleep(1)
            statuses = []
            for _ in range(ASKED):
                statuses.append(ask(server, OTHER, "/predict", server.payload))
                time.sleep(0.03)
            assert server.ask("/healthz").status == 200
            assert server.ask("/metrics").status == 200
        finally:
            stop.set()
            for thread in greedy:
                thread.join()
        assert statuses.count(200) >= 0.9 * ASKED, statuses


# Web pages


@pytest.fixture(scope="module")
def server(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("pages") / "repo"
    shutil.copytree(released, folder, symlinks=True)
    with serving(folder, with_latency_limit(5000)) as server:
        yield server


SIMPLE = ("text/plain", "text/plain;charset=UTF-8", "multipart/form-data; boundary=x")
SIMPLE += ("application/x-www-form-urlencoded",)
LABEL = b'{"id": "r-1", "label": "fraud"}'


@pytest.mark.parametrize("kind", SIMPLE)
@pytest.mark.parametrize("path", ["/predict", "/feedback", INFER, f"{INFER}?x=1"])
def test_a_page_cannot_post_without_asking_first(path: str, kind: str, server: Server) -> None:
    reply = server.ask(path, LABEL, content_type=kind)
    assert reply.status == 415, reply.body


@pytest.mark.parametrize("path", ["/predict", "/feedback", INFER])
def test_a_body_without_a_type_is_refused_if_a_page_sent_it(path: str, server: Server) -> None:
    reply = server.ask(path, LABEL, content_type="", origin="http://evil.example")
    assert reply.status == 403, reply.body


def test_json_is_accepted(server: Server) -> None:
    assert server.ask("/feedback", LABEL, content_type="application/json").status == 200


def ask_as(server: Server, host: str, path: str = "/metrics", origin: str = "") -> int:
    method = "POST" if path == "/predict" else "GET"
    length = len(server.payload) if method == "POST" else 0
    head = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n"
    head += f"content-type: {server.kind}\r\ncontent-length: {length}\r\n"
    head += f"origin: {origin}\r\n" * bool(origin)
    with server.connect() as connection:
        connection.sendall(f"{head}\r\n".encode() + server.payload * bool(length))
        return int(connection.recv(100).split()[1])


def test_a_page_cannot_read_through_a_name_of_its_own(server: Server) -> None:
    """DNS rebinding: the name of the page points to 127.0.0.1, the browser sends it as `Host`."""
    port = server.port
    for path in ("/metrics", "/", "/predict", "/healthz"):
        assert ask_as(server, "evil.example", path) == 421
        assert ask_as(server, f"evil.example:{port}", path) == 421
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "scratches"):
            assert ask_as(server, host, path) == 200, host
    good = f"127.0.0.1:{port}"
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{port + 1}"):
        assert ask_as(server, good, "/predict", origin) == 403
    assert ask_as(server, good, "/predict", f"http://{good}") == 200
    assert server.metric('refusals_total{status="421"}') >= 8


def test_names_that_are_answered_can_be_set(released: Path, tmp_path: Path) -> None:
    shutil.copytree(released, tmp_path / "repo", symlinks=True)
    names = {"SCRATCH_DETECTOR_ALLOWED_HOSTS": "scratches.example.com 127.0.0.1"}
    with serving(tmp_path / "repo", with_latency_limit(5000), **names) as server:
        assert ask_as(server, "scratches.example.com") == 200
        assert ask_as(server, "localhost") == 421


def test_pages_cannot_be_framed(server: Server) -> None:
    for path in ("/", "/docs", "/docs/runbook/server.md", "/metrics"):
        reply = server.ask(path)
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]


# Personal data


@pytest.mark.parametrize("payloads", ["none", "hashed"])
def test_no_hash_of_a_payload_can_be_tried(payloads: str, project: Path, tmp_path: Path) -> None:
    """Neither bytes nor plain hashes of a payload are in any file, log or metric."""
    path = project / "scope.yaml"
    text, count = re.subn(r"(?m)^payloads: \w+", f"payloads: {payloads}", path.read_text())
    path.write_text(text)
    assert count == 1
    release(project)
    log = tmp_path / "log"
    with serving(project, with_latency_limit(5000), command="serve", log=log) as server:
        marked = server.payload
        wrong = marked.replace(b"{", b'{"marked-column": "marked-value", ', 1)
        assert server.ask(body=marked, x_request_id="r-1").status == 200
        assert server.ask(body=wrong).status == 422
        time.sleep(0.5)
        texts = [server.ask("/metrics").body, server.ask("/").body, log.read_bytes()]
        texts += [file.read_bytes() for file in (project / "data").glob("journal*")]
        for file in (project / "data").glob("journal*"):
            assert file.stat().st_mode & 0o077 == 0, file
    texts += [file.read_bytes() for file in (project / "data").glob("journal*")]
    plain = [done(run_in(project, "python", "-c", HASHES, marked.decode()))]
    for text in texts:
        assert marked not in text and b"marked-" not in text
        assert not [hash for hash in plain[0].split() if hash.encode() in text]
    assert b"r-1" in b"".join(texts)


HASHES = """
import hashlib, sys, zlib
payload = sys.argv[1].encode()
print(hashlib.sha256(payload).hexdigest(), hashlib.md5(payload).hexdigest())
print(zlib.crc32(payload), f"{zlib.crc32(payload):08x}")
"""
