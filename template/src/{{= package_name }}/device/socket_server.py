"""Decisions for other programs of this machine, in any language: HTTP over a Unix socket.

`curl --unix-socket data/decide.sock --data-binary @FILE http://device/decide`, for example.
"""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from threading import Thread
from typing import Any

from ..refusal import Refusal
from ..task.features import MAX_PAYLOAD_BYTES
from .decide import Decider

SOCKET = Path("data/decide.sock")
Record = Callable[[bytes, dict[str, Any], float], None]


class Handler(BaseHTTPRequestHandler):
    """One request: a payload as its body; the answer is the decision, as JSON."""

    timeout = 10  # seconds, of each read
    decider: Decider
    record: Record

    def do_POST(self) -> None:
        """Decide on a payload; whoever asked has the decision before it is on disk."""
        length = self.headers.get("content-length", "")
        size = int(length) if length.isdecimal() else 0
        payload = self.rfile.read(min(size, 2 * MAX_PAYLOAD_BYTES))
        if self.path != "/decide" or not 0 < size <= MAX_PAYLOAD_BYTES:
            rule = f"a payload of 1 to {MAX_PAYLOAD_BYTES} bytes for /decide"
            refusal = Refusal("content-length", f"{self.path} {length}", rule, 1000)
            return self._answer(422, {"detail": [refusal.detail]})
        decision = self.decider.decide(payload)
        self._answer(200, decision)
        self.record(payload, decision, decision["time"])

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response_only(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingMixIn, UnixStreamServer):
    """A thread for each connection; none keeps the process alive."""

    daemon_threads = True


def listen(decider: Decider, record: Record) -> None:
    """Answer at the socket from now on; only this user and its group may ask."""
    SOCKET.unlink(missing_ok=True)  # of whoever was killed
    Handler.decider, Handler.record = decider, staticmethod(record)
    server = Server(str(SOCKET), Handler)
    SOCKET.chmod(0o660)
    Thread(target=server.serve_forever, daemon=True).start()
