"""Runs the application with uvicorn, with limits on connections and a graceful drain.

uvicorn leaves both to a reverse proxy, which not every deployment has. A connection is closed if
the head of a request is too large or too slow. With too many connections, those that have waited
longest for a request are closed, so that probes and scrapes get through. On SIGTERM, `/readyz`
fails first, while the server still responds for a moment.
"""

import asyncio
import logging
import signal
from collections import Counter
from functools import partial
from socket import socket
from types import FrameType
from typing import Any, ClassVar

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..settings import check_anonymous_access
from .settings import ServerSettings
from .state import ServerState

# A head is a few hundred bytes in one packet. "Slowloris" attacks send it slowly.
HEAD_S = 10
HEAD_BYTES = 32_768  # like nginx: 4 buffers of 8 kB
MAX_CONNECTIONS = 900  # below the usual limit of 1024 open files
MAX_WITH_WAITING = 800  # above it, connections that wait for a request are closed
# Reachable even if other requests are rejected because of too many connections.
BODY_HAS_ARRIVED = "body_has_arrived"  # an ASGI extension; most bodies come with their head
PROBES = {b"/healthz", b"/readyz", b"/metrics", b"/v2/health/live", b"/v2/health/ready"}
DRAIN_S = 2  # load balancers need about this long to notice that `/readyz` fails
STOP_WITHIN_S = 20  # DRAIN_S + this is below the grace period of 30 s in deploy/
LOGS: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,  # uvicorn's and asyncio's exist already
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(asctime)s %(levelname)s %(message)s",
            "rename_fields": {"asctime": "time", "levelname": "level"},
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    # Not its warnings: any client can cause them.
    "loggers": {__package__: {"level": "INFO"}, "uvicorn.error": {"level": "ERROR"}},
}
log = logging.getLogger(__package__)


class WholeResponses:
    """A transport that sends the head of a response together with the first part of its body.

    uvicorn writes them one after the other, and each write is a system call that wakes the client.
    """

    def __init__(self, transport: Any, protocol: HttpToolsProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._cycle: Any = None  # the latest request with a response that has begun
        self._head = b""

    def write(self, data: bytes) -> None:
        cycle = self._protocol.cycle
        if cycle is not self._cycle and cycle.response_started:
            self._cycle, self._head = cycle, data
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def flush(self) -> None:
        """Send a head that no body follows."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class LimitedHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 with limits on the size and duration of a request's head, and on connections."""

    # Connections without a complete request, in the order in which they started to wait.
    waiting: ClassVar[dict["LimitedHttpProtocol", None]] = {}
    addresses: ClassVar[Counter[str]] = Counter()  # of all connections
    _address = ""
    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _is_in_head = False
    _is_in_body = False  # a head is complete, its body is not
    _is_rejected = False  # the response was sent before the body was complete
    _is_half_closed = False  # the client has sent all requests, and still reads

    def connection_made(self, transport: Any) -> None:
        super().connection_made(WholeResponses(transport, self))  # type: ignore[arg-type]
        self._address = self.client[0] if self.client else ""
        self.addresses[self._address] += 1
        if len(self.connections) > MAX_WITH_WAITING and self.waiting:
            # Of the address that has most connections, if it has more than half.
            most, count = self.addresses.most_common(1)[0]
            is_greedy = 2 * count > len(self.connections)
            theirs = (other for other in self.waiting if is_greedy and other._address == most)
            longest = next(theirs, next(iter(self.waiting)))
            del self.waiting[longest]
            longest.transport.close()
        self.waiting[self] = None
        self._start_timer()  # also for clients that never send anything

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head = True

    def on_headers_complete(self) -> None:
        if [name for name, _ in self.headers].count(b"host") > 1:
            # A proxy may have used the other one. uvicorn answers errors of the parser with 400.
            raise ValueError("more than one host")
        self._stop_timer()  # `read_body` limits the body
        self._is_in_head = False
        self._is_in_body = True
        self.limit_concurrency = None if self.url in PROBES else self.config.limit_concurrency
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._is_in_body = False
        self.scope["extensions"] = {BODY_HAS_ARRIVED: {}}
        self.waiting.pop(self, None)
        if self._is_rejected:
            self.transport.close()

    def on_response_complete(self) -> None:
        self.transport.flush()  # type: ignore[attr-defined]
        super().on_response_complete()
        if self._is_in_body:  # read the rest first: closing at once could destroy the response
            self._is_rejected = True
            self.loop.call_later(HEAD_S, self.transport.close)
        elif self._is_half_closed and not self.pipeline:
            self.transport.close()
        elif not self.pipeline and not self.transport.is_closing():
            self.waiting[self] = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Most heads arrive whole and need no timer. Blank lines before a head do not begin it.
        if self._is_in_head or (self in self.waiting and not self._is_in_body):
            self._start_timer()
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.transport.close()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep a connection open for the response if the client only stops sending."""
        is_busy = self.cycle is not None and not self.cycle.response_complete
        self._is_half_closed = is_busy and not self._is_in_body
        return self._is_half_closed

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.waiting.pop(self, None)
        self.addresses[self._address] -= 1
        if not self.addresses[self._address]:
            del self.addresses[self._address]
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        if not self._timer:
            self._head_bytes = 0
            self._timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


class DrainingServer(uvicorn.Server):
    """On SIGTERM: fail `/readyz`, keep serving for `DRAIN_S`, then stop."""

    def __init__(self, config: uvicorn.Config, state: ServerState) -> None:
        super().__init__(config)
        self._state = state

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain, then exit with status 0. A second signal or Ctrl-C stops immediately."""
        loop = asyncio.get_running_loop()
        stopping = partial(log.info, "stopping", extra={"signal": signal.Signals(sig).name})
        loop.call_soon_threadsafe(stopping)  # a signal handler must not log
        if sig != signal.SIGTERM or self._state.is_draining:
            super().handle_exit(sig, frame)
            return
        self._state.is_draining = True
        loop.call_later(DRAIN_S, setattr, self, "should_exit", True)

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start, and print the address once the server listens."""
        await super().startup(sockets)
        if not self.started:
            return
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        url = f"http://{host}:{self.config.port}"
        print(f"Serving on {url} (status page: /, API: /docs)", flush=True)
        if not self._state.keys:
            log.warning("no API key is required: clients may predict, label and delete without one")
        log.info("ready", extra={"release": self._state.served.release})


def run_server(app: ASGIApp, state: ServerState, settings: ServerSettings) -> None:
    """Serve requests until a signal stops the process.

    Raises:
        SystemExit: it cannot listen, or other machines would have access without a key.
    """
    if not state.keys:
        check_anonymous_access("API_KEYS", [settings.host])
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=LimitedHttpProtocol,
        log_config=None,  # `LOGS` is in use already
        access_log=False,
        proxy_headers=False,  # nothing reads the client's address
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=STOP_WITHIN_S,
        server_header=False,
    )
    server = DrainingServer(config, state)
    server.run()
    if not server.started:  # uvicorn has logged the reason
        raise SystemExit(1)
