"""Runs the application with uvicorn, with limits on request heads and a graceful drain.

uvicorn leaves both to a reverse proxy, which not every deployment has. A connection is closed if
the head of a request is too large or too slow. On SIGTERM, `/readyz` fails first, while the server
still responds for a moment.
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

# A head is a few hundred bytes in one packet. "Slowloris" attacks send it slowly.
HEAD_S = 10
HEAD_BYTES = 32_768  # like nginx: 4 buffers of 8 kB
MAX_CONNECTIONS = 1000  # below the usual limit of 1024 open files
DRAIN_S = 2  # load balancers need about this long to notice that `/readyz` fails
STOP_WITHIN_S = 20  # DRAIN_S + this is below the grace period of 30 s in deploy/
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
    """HTTP/1.1 with limits on the size and duration of a request's head."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_timer()  # also for clients that never send anything

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start_timer()  # for the next request on a kept-alive connection

    def on_headers_complete(self) -> None:
        self._stop_timer()  # `read_body` limits the body
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
    """On SIGTERM: fail `/readyz`, keep serving for `DRAIN_S`, then stop."""

    def __init__(self, config: uvicorn.Config, state: ServerState) -> None:
        super().__init__(config)
        self._state = state

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain, then exit with status 0. A second signal or Ctrl-C stops immediately."""
        if sig != signal.SIGTERM or self._state.is_draining:
            super().handle_exit(sig, frame)
            return
        self._state.is_draining = True
        asyncio.get_running_loop().call_later(DRAIN_S, setattr, self, "should_exit", True)


def run_server(app: ASGIApp, state: ServerState, settings: ServerSettings) -> None:
    """Serve requests until a signal stops the process."""
    url = f"http://{settings.host}:{settings.port}"
    print(f"Serving on {url} (status page: /, API: /docs)", flush=True)
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
