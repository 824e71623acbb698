"""Decisions, health and metrics for other programs on this machine: HTTP over a Unix socket.

Examples: `curl --unix-socket data/decide.sock --data-binary @FILE http://device/decide`, and
`curl --unix-socket data/decide.sock http://device/healthz`.
"""

from collections.abc import Callable
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from ..refusal import Refusal
from ..task.features import MAX_PAYLOAD_BYTES
from .decide import Decider
from .json_server import BoundedServer, JsonHandler
from .outbox import DROPPED
from .report import FailureLog, log
from .retry import LastingThread

SOCKET = Path("data/decide.sock")
PATHS = "POST a payload to /decide; GET /healthz or /metrics"
Record = Callable[[bytes, dict[str, Any], float], None]  # a payload, its decision, and its time
Health = Callable[[], tuple[int, dict[str, Any]]]  # an HTTP status, and the content of /healthz


class DecisionServer(BoundedServer, UnixStreamServer):
    """A server with one thread per connection. `record` stores each decision after the reply."""

    def __init__(self, decider: Decider, record: Record, health: Health) -> None:
        super().__init__(str(SOCKET), DecisionHandler)
        self.decider = decider
        self.record = record
        self.health = health
        self.storing = FailureLog("Storing a decision")


class DecisionHandler(JsonHandler):
    """One request of a program on this machine."""

    server: DecisionServer

    def address_string(self) -> str:
        """Return the client's name for log lines: a Unix socket has no address."""
        return "local"

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.reply_json(*self.server.health())
        elif self.path == "/metrics":
            self.reply(200, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
        else:
            self.reply_json(404, {"detail": f"Nothing at {self.path}. {PATHS}."})

    def do_POST(self) -> None:
        payload = self.read_body(MAX_PAYLOAD_BYTES)
        if self.path != "/decide" or not payload:
            rule = f"a payload of 1 to {MAX_PAYLOAD_BYTES} bytes for /decide"
            request = f"{self.path} {self.headers.get('content-length', '')}"
            refusal = Refusal("content-length", request, rule, 1000)
            self.reply_json(422, {"detail": [refusal.detail]})
            return
        decision = self.server.decider.decide(payload)
        try:
            # Reply before writing to disk: a sync may take longer than the model.
            self.reply_json(200, decision)
        finally:  # also if the client has gone
            self._store(payload, decision)

    def _store(self, payload: bytes, decision: dict[str, Any]) -> None:
        try:
            self.server.record(payload, decision, decision["time"])
        except Exception as error:
            DROPPED.inc()
            self.server.storing.fail(error)
        else:
            self.server.storing.recover()


class SocketThread(LastingThread):
    """The thread that accepts connections, and opens the socket again if it has to."""

    def __init__(self, decider: Decider, record: Record, health: Health) -> None:
        super().__init__("socket")
        self._parts = (decider, record, health)
        self._server: DecisionServer | None = None

    def open(self) -> DecisionServer:
        """Open the socket; only this user and its group may connect."""
        SOCKET.unlink(missing_ok=True)  # left by a process that was killed
        self._server = DecisionServer(*self._parts)
        SOCKET.chmod(0o660)
        return self._server

    def work(self) -> None:
        with self._server or self.open() as server:
            self._server = None
            server.serve_forever()


def listen(decider: Decider, record: Record, health: Health) -> None:
    """Start the server in the background. If the socket cannot be opened, this is tried again."""
    thread = SocketThread(decider, record, health)
    try:
        thread.open()
    except OSError as error:
        log(f"Cannot open {SOCKET}: {error}. It is tried again; files in the inbox are decided on.")
    thread.start()
