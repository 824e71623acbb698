"""Decisions for other programs of this machine, in any language: HTTP over a Unix socket.

`curl --unix-socket data/decide.sock --data-binary @FILE http://device/decide`, for example.
"""

from collections.abc import Callable
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from threading import Thread
from typing import Any

from ..refusal import Refusal
from ..task.features import MAX_PAYLOAD_BYTES
from .decide import Decider
from .json_http import JsonHandler

SOCKET = Path("data/decide.sock")
Record = Callable[[bytes, dict[str, Any], float], None]  # a payload, its decision, and when


class DecisionServer(ThreadingMixIn, UnixStreamServer):
    """A thread per connection. `record` keeps each decision after it was answered."""

    daemon_threads = True  # an open connection does not keep the process alive

    def __init__(self, decider: Decider, record: Record) -> None:
        super().__init__(str(SOCKET), DecisionHandler)
        self.decider = decider
        self.record = record


class DecisionHandler(JsonHandler):
    """One request: the body is a payload; the answer is the decision, as JSON."""

    server: DecisionServer

    def do_POST(self) -> None:
        payload = self.read_body(MAX_PAYLOAD_BYTES)
        if self.path != "/decide" or not 0 < len(payload) <= MAX_PAYLOAD_BYTES:
            rule = f"a payload of 1 to {MAX_PAYLOAD_BYTES} bytes for /decide"
            request = f"{self.path} {self.headers.get('content-length', '')}"
            refusal = Refusal("content-length", request, rule, 1000)
            self.answer_json(422, {"detail": [refusal.detail]})
            return
        decision = self.server.decider.decide(payload)
        # Answer before the disk is written: a sync may take longer than the model.
        self.answer_json(200, decision)
        self.server.record(payload, decision, decision["time"])


def listen(decider: Decider, record: Record) -> None:
    """Answer at the socket from now on; only this user and its group may connect."""
    SOCKET.unlink(missing_ok=True)  # left by a process that was killed
    server = DecisionServer(decider, record)
    SOCKET.chmod(0o660)
    Thread(target=server.serve_forever, daemon=True).start()
