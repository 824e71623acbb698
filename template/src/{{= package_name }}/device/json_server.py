"""A small HTTP/1.1 server for devices and their collector, with the standard library only.

One thread per connection. Clients that send nothing, or never finish a request, are disconnected,
at the latest when others need their place.
"""

import json
import math
import socket
import sys
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer, ThreadingMixIn
from threading import Lock
from typing import Any

from .report import FailureLog

CHUNK_BYTES = 65_536
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BadRequest(Exception):
    """A request that is not answered in any other way: an HTTP status and the reason."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class BoundedServer(ThreadingMixIn, BaseServer):
    """Mixin: at most `max_connections` connections, and `read_s` seconds for each request.

    On a kept connection, the next request has to begin and end within this time, too.
    """

    read_s = 10.0
    # The service has at most 64 threads (`TasksMax` of its unit), and needs about ten others.
    max_connections = 32
    daemon_threads = True  # an open connection does not keep the process alive
    # Clients that may wait while a connection is made free; the system has its own cap.
    request_queue_size = 1024

    def __init__(self, *arguments: Any) -> None:
        self._lock = Lock()
        # Since when a connection has been waiting for a request; infinity while it is answered.
        self._waiting_since_s: dict[socket.socket, float] = {}
        self._accepting = FailureLog("Accepting a connection")
        super().__init__(*arguments)

    def get_request(self) -> Any:
        try:
            request = super().get_request()
        except OSError as error:  # too many open files, for example
            self._accepting.fail(error)
            time.sleep(0.1)  # or the loop around this would take a whole core
            raise
        return request

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection; if there are too many, end the longest waiting one."""
        with self._lock:
            since_s = self._waiting_since_s
            is_full = len(since_s) >= self.max_connections
            oldest = min(since_s, key=since_s.__getitem__) if is_full else None
            is_busy = oldest is not None and since_s[oldest] == math.inf
            if oldest is not None and not is_busy:
                del since_s[oldest]
            since_s[request] = time.monotonic()
        if is_busy:
            with suppress(OSError):
                request.send(BUSY)
            self.shutdown_request(request)
            return
        if oldest is not None:
            disconnect(oldest)
        try:
            super().process_request(request, client_address)
        except RuntimeError as error:  # the system has no room for a thread
            self._accepting.fail(error)
            self.shutdown_request(request)

    def service_actions(self) -> None:
        """Disconnect clients that take too long. `serve_forever` calls it twice per second."""
        last_s = time.monotonic() - self.read_s
        with self._lock:
            late = [open for open, since_s in self._waiting_since_s.items() if since_s < last_s]
        for request in late:
            disconnect(request)

    def set_waiting(self, request: Any, is_waiting: bool) -> None:
        """Note whether a connection waits for a request, or its request is being answered."""
        with self._lock:
            if request in self._waiting_since_s:
                self._waiting_since_s[request] = time.monotonic() if is_waiting else math.inf

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._waiting_since_s.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an error of a request in one line. A client that has gone is not logged."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            self._accepting.fail(error or "an unknown error")


def disconnect(request: Any) -> None:
    """End a connection; its thread then reads the end of the stream."""
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:  # it has ended meanwhile
        return


class JsonHandler(BaseHTTPRequestHandler):
    """A request handler that reads bodies of limited size and replies with JSON."""

    server: Any
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds per write to a client that does not read

    def handle_one_request(self) -> None:
        """Answer one request, and wait for the next one on the same connection."""
        self.server.set_waiting(self.connection, True)
        try:
            super().handle_one_request()
        except BadRequest as bad:
            self.send_error(bad.status, str(bad))
        except ConnectionError:  # the client has gone
            self.close_connection = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.send_error(404)

    def parse_request(self) -> bool:
        """Parse the head of a request, and reject what HTTP clients do not send."""
        if not super().parse_request():
            return False
        lengths = self.headers.get_all("content-length", [])
        coding = self.headers.get("transfer-encoding", "")
        if coding or len(set(lengths)) > 1:
            self.send_error(400, "send one content-length, and no transfer-encoding")
            return False
        if len(self.headers.get_all("host", [])) > 1:
            self.send_error(400, "send one host")
            return False
        if self.command in ("GET", "HEAD") and lengths:  # the body would be read as a request
            self.close_connection = True
        return True

    def read_body(self, max_bytes: int) -> bytes | None:
        """Return a body of up to `max_bytes`, or None for a larger one.

        A client that is still sending when the connection closes gets a reset instead of the reply.
        So up to twice the limit, or 128 kB, is read and dropped.

        Raises:
            BadRequest: there is no valid length, or the client did not send all of it.
        """
        length = self.headers.get("content-length")
        if length is None:
            raise BadRequest(411, "send a content-length")
        if not (length.isascii() and length.isdecimal() and len(length) < 20):
            raise BadRequest(400, "content-length is not a number")
        size = int(length)
        if size > max_bytes:
            self.close_connection = True
            left = min(size, 2 * max(max_bytes, CHUNK_BYTES))
            while left > 0 and (read := len(self.rfile.read(min(left, CHUNK_BYTES)))):
                left -= read
            body = None
        else:
            body = self.rfile.read(size)
            if len(body) < size:
                raise BadRequest(400, f"content-length is {size}, but {len(body)} bytes came")
        self.server.set_waiting(self.connection, False)
        return body

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send errors of the base class, such as an unknown method, as JSON."""
        self.close_connection = True
        self.request_version = (
            self.protocol_version
        )  # a reply in the form of HTTP/0.9 has no status
        self.reply_json(code, {"detail": message or self.responses[HTTPStatus(code)][0]})

    def reply_json(self, status: int, content: dict[str, Any]) -> None:
        self.reply(status, json.dumps(content).encode(), "application/json")

    def reply(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response_only(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing per request: a client could fill the disk."""
