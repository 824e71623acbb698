"""What uvicorn leaves to a proxy in front of it: limits on heads of requests, and a drain.

Every connection has a few seconds and kilobytes for the head of each request. A server that is
told to stop first says that it is not ready, and answers what still comes for a moment.
"""

import asyncio
import signal
from types import FrameType
from typing import Any

import uvicorn
from starlette.datastructures import State
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .settings import ServerSettings

HEAD_S, HEAD_BYTES = 10, 32_768
MAX_CONNECTIONS = 1000
DRAIN_S = 2  # whoever sends the traffic needs as long to see `/readyz` fail
STOP_WITHIN_S = 20
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


class Guarded(HttpToolsProtocol):
    """One connection, which ends when the head of a request comes too slowly or grows too large."""

    _clock: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Start the clock: a client that never asks is gone when it rings."""
        super().connection_made(transport)
        self._start_clock()

    def on_message_begin(self) -> None:
        """Start the clock of the next request on a connection that is kept."""
        super().on_message_begin()
        self._start_clock()

    def on_headers_complete(self) -> None:
        """Stop the clock; the body has its own."""
        self._stop_clock()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Count what came without completing a head."""
        super().data_received(data)
        if self._clock:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def _start_clock(self) -> None:
        if not self._clock:
            self._head_bytes = 0
            self._clock = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop_clock(self) -> None:
        if self._clock:
            self._clock.cancel()
            self._clock = None


class Server(uvicorn.Server):
    """On SIGTERM: not ready at once, then a moment of traffic, then the end."""

    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self._state = state

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain, then end with status 0; a second signal, or Ctrl-C, ends at once."""
        if sig != signal.SIGTERM or self._state.draining:
            return super().handle_exit(sig, frame)
        self._state.draining = True
        asyncio.get_running_loop().call_later(DRAIN_S, setattr, self, "should_exit", True)


def listen(app: ASGIApp, state: State) -> None:
    """Listen until told to stop; `<PACKAGE>_HOST` and `<PACKAGE>_PORT` say where."""
    settings = ServerSettings.read()
    host, port = settings.host, settings.port
    print(f"Answering on http://{host}:{port}", flush=True)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Guarded,
        log_config=LOGS,
        access_log=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=STOP_WITHIN_S,
        server_header=False,
    )
    Server(config, state).run()
