"""Starts a prediction server as a separate process, and sends requests to it."""

import http.client
import json
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

from rich.progress import track

from ..settings import PACKAGE, variable
from ..task.features import CONTENT_TYPES
from .settings import LoadSettings

START_S = 60  # a busy machine may need this long to import and warm up
POLL_S = 0.05  # short compared with a start, which takes about 1 s
STOP_S = 30  # longer than DRAIN_S and STOP_WITHIN_S of the server together
READY_TIMEOUT_S = 5  # `/readyz` does not run the model and responds immediately
TIMEOUT_S = 65  # longer than MAX_TIMEOUT_S of the server
IDLE_S = 1  # the server may close connections that are idle for longer
PROGRESS_S = 0.1  # between two updates of the progress bar


@contextmanager
def start_server() -> Iterator[int]:
    """Start a server on a free port, yield the port once it is ready, and stop it at the end.

    Raises:
        SystemExit: the server exited or was not ready within `START_S`.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    environment = os.environ | {variable("PORT"): str(port)}
    command = [sys.executable, "-m", PACKAGE, "rehearse"]
    quiet = subprocess.DEVNULL  # errors go to stderr
    process = subprocess.Popen(command, env=environment, stdout=quiet)  # noqa: S603 (our own)
    try:
        deadline = time.monotonic() + START_S
        while not fetch_readiness(f"http://127.0.0.1:{port}"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("The server did not start. See its output above.")
            time.sleep(POLL_S)
        yield port
    finally:
        process.terminate()
        process.wait(STOP_S)


def connect(url: str, timeout_s: float) -> http.client.HTTPConnection:
    """Return a connection that opens on first use, and reopens after `close`."""
    address = urlsplit(url)
    plain = http.client.HTTPConnection
    kinds: dict[str, type[http.client.HTTPConnection]] = {
        "http": plain,
        "https": http.client.HTTPSConnection,
    }
    return kinds[address.scheme](address.netloc, timeout=timeout_s)


def fetch_readiness(url: str) -> dict[str, Any]:
    """Return the response of `/readyz`, or an empty one if no server is ready there."""
    try:
        connection = connect(url, READY_TIMEOUT_S)
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        body: dict[str, Any] = json.loads(response.read())
        connection.close()
    except (OSError, http.client.HTTPException, LookupError, ValueError):
        return {}
    return body if response.status == http.HTTPStatus.OK else {}


def request_headers(key: str = "") -> dict[str, str]:
    """Return the headers of a prediction request."""
    return {"content-type": next(iter(CONTENT_TYPES)), "x-api-key": key}


def ask(
    connection: http.client.HTTPConnection, payload: bytes, headers: dict[str, str]
) -> tuple[int, bytes]:
    """Send one payload; return the status and the body of the response."""
    connection.request("POST", "/predict", payload, headers)
    response = connection.getresponse()
    return response.status, response.read()


@contextmanager
def start_predictor() -> Iterator[Callable[[bytes], bytes]]:
    """Start a server; yield a function that sends one payload and returns the response."""
    headers = request_headers(LoadSettings.read().load_key.get_secret_value())
    with start_server() as port:
        connection = connect(f"http://127.0.0.1:{port}", TIMEOUT_S)

        def predict(payload: bytes) -> bytes:
            status, body = ask(connection, payload, headers)
            if status != http.HTTPStatus.OK:
                raise SystemExit(f"The server returned {status}: {body.decode()}")
            return body

        yield predict
        connection.close()


def drive(
    url: str,
    clients: int,
    requests: Iterator[tuple[float, bytes]],
    last_s: float,
    headers: dict[str, str],
) -> list[tuple[float, float]]:
    """Send each payload when it is due, or as soon as a client is free, until `last_s`.

    Returns the due time and the completion time of each successful request, as read from
    `time.perf_counter()`.
    """
    completed: list[tuple[float, float]] = []
    lock = Lock()
    end_s = last_s + TIMEOUT_S
    free = [(connect(url, TIMEOUT_S), 0.0) for _ in range(clients)]

    def client() -> None:
        while True:
            with lock:
                due_s, payload = next(requests, (math.inf, b""))
            if due_s > last_s or time.perf_counter() > end_s:
                return
            time.sleep(max(0, due_s - time.perf_counter()))
            connection, used_s = free.pop()  # the most recently used one, as in a connection pool
            if time.perf_counter() > used_s + IDLE_S:
                connection.close()
            try:
                if ask(connection, payload, headers)[0] == http.HTTPStatus.OK:
                    completed.append((due_s, time.perf_counter()))
            except (OSError, http.client.HTTPException):
                connection.close()
            free.append((connection, time.perf_counter()))

    threads = [Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for _ in track(
        range(math.ceil((last_s - time.perf_counter()) / PROGRESS_S)), f"{clients} clients"
    ):
        time.sleep(PROGRESS_S)
    for thread in threads:
        thread.join(max(0, end_s - time.perf_counter()))
    return completed.copy()  # requests that are still open are dropped
