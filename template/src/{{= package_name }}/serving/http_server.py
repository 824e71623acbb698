"""Runs the application with uvicorn, with limits on request heads and a graceful drain.

uvicorn leaves these to a proxy, which not every deployment has: each connection has a few seconds
and kilobytes for the head of each request, and a server that is told to stop first reports that it
is not ready, and still answers for a moment.
"""

import asyncio
import signal
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .settings import ServerSettings
from .state import ServerState

# A head is a few hundred bytes and one packet; slow ones are how "slowloris" holds connections.
HEAD_S = 10
HEAD_BYTES = 32_768  # nginx takes as much: 4 buffers of 8 kB
MAX_CONNECTIONS = 1000  # each costs memory; below the usual limit of 1024 open files
DRAIN_S = 2  # load balancers need about as long to see `/readyz` fail
STOP_WITHIN_S = 20  # with DRAIN_S, below the 30 s after which deploy/ kills a server
LOGS: dict[str, Any] = {
    "version": 1,
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(asctime)s %(levelname)s %(message)s",
            "rename_fields": {"asctime": "time", "levelname": "level"},
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {__package__: {"level": "INFO"}},
}


class LimitedHttpProtocol(HttpToolsProtocol):
    """A connection that is closed when the head of a request comes too slowly or is too large."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_timer()  # also for a client that never sends anything

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start_timer()  # for the next request on a kept-alive connection

    def on_headers_complete(self) -> None:
        self._stop_timer()  # the body has a limit of its own: `read_body`
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._timer:  # the head is still incomplete
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
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
    """On SIGTERM: report not ready, go on answering for `DRAIN_S`, then stop."""

    def __init__(self, config: uvicorn.Config, state: ServerState) -> None:
        super().__init__(config)
        self._state = state

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain, then exit with status 0; a second signal, or Ctrl-C, stops at once."""
        if sig != signal.SIGTERM or self._state.is_draining:
            super().handle_exit(sig, frame)
            return
        self._state.is_draining = True
        asyncio.get_running_loop().call_later(DRAIN_S, setattr, self, "should_exit", True)


def run_server(app: ASGIApp, state: ServerState, settings: ServerSettings) -> None:
    """Answer requests until told to stop."""
    print(f"Answering on http://{settings.host}:{settings.port}", flush=True)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=LimitedHttpProtocol,
        log_config=LOGS,
        access_log=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=STOP_WITHIN_S,
        server_header=False,
    )
    DrainingServer(config, state).run()
