"""A client of the real server, in a process of its own."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .task.features import CONTENT_TYPES

START_S = 60


@contextmanager
def running_server() -> Iterator[int]:
    """Start the server on a free port, wait until it is ready, give the port, stop the server.

    Raises:
        SystemExit: it ended, or it was not ready in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    environment = os.environ | {f"{__package__}_PORT".upper(): str(port)}
    command = [sys.executable, "-m", str(__package__), "rehearse"]
    quiet = subprocess.DEVNULL  # errors still show
    process = subprocess.Popen(command, env=environment, stdout=quiet)  # noqa: S603 (our own)
    try:
        deadline = time.monotonic() + START_S
        while not _is_ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("The server did not start; its last words are above.")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def answering() -> Iterator[Callable[[bytes], bytes]]:
    """Give a function that sends one payload to a running server and returns the answer."""
    headers = {"content-type": next(iter(CONTENT_TYPES))}
    with running_server() as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

        def answer(payload: bytes) -> bytes:
            connection.request("POST", "/predict", payload, headers)
            response = connection.getresponse()
            body = response.read()
            if response.status != http.HTTPStatus.OK:
                raise SystemExit(f"The server answered {response.status}: {body.decode()}")
            return body

        yield answer
        connection.close()
