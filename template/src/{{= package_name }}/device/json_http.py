"""JSON over HTTP for devices and their collector, with the standard library only."""

import http.client
import json
import math
import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Timer
from typing import Any
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    Request,
    build_opener,
)

from .settings import check_encrypted

# A reply lists the stored events: 100 ids of 64 characters take 7 kB. The limit protects the memory
# of a device if the URL belongs to another server.
MAX_REPLY_BYTES = 100_000
MAX_DEPTH = 50  # of nested brackets; a reply has two


def post(url: str, body: bytes, headers: dict[str, str], timeout_s: float) -> Any:
    """Send a body and return the reply.

    The whole reply has to arrive within twice the timeout, however slowly it comes. A redirect
    counts as an error: the headers hold an API key, which is for this address only.

    Raises:
        OSError: no reply in time, a status of 300 or above, or a key for an address in plain text.
        ValueError: the reply is not JSON, or too large.
    """
    if headers.get("x-api-key"):
        check_encrypted(url)
    sockets: list[socket.socket] = []
    opener = build_opener(_NoRedirects, _Http(sockets), _Https(sockets))
    request = Request(url, body, headers)  # noqa: S310 (scope.Params allows http and https only)
    is_late = Event()
    deadline = Timer(2 * timeout_s, _shut_down, [sockets, is_late])
    deadline.daemon = True
    deadline.start()
    try:
        with opener.open(request, timeout=timeout_s) as response:
            reply = response.read(MAX_REPLY_BYTES + 1)
            if is_late.is_set() or (response.length and len(reply) <= MAX_REPLY_BYTES):
                raise TimeoutError("the reply was cut, or did not arrive in time")
    except http.client.HTTPException as error:  # the reply is not HTTP, or was cut
        raise OSError(f"{type(error).__name__}: {error}") from None
    finally:
        deadline.cancel()
    return parse_reply(reply)


def parse_reply(reply: bytes) -> Any:
    """Parse JSON that may come from any server.

    Raises:
        ValueError: it is too large or too deep, not JSON, or holds NaN or infinity.
    """
    if len(reply) > MAX_REPLY_BYTES:
        raise ValueError(f"the reply has more than {MAX_REPLY_BYTES} bytes")
    try:
        return json.loads(reply, parse_float=_parse_finite, parse_constant=_parse_finite)
    except RecursionError:
        raise ValueError("the reply is nested too deep") from None


def _parse_finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the reply holds {text}")
    return value


def _shut_down(sockets: list[socket.socket], is_late: Event) -> None:
    is_late.set()
    for connection in sockets:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None  # urllib then raises HTTPError with the status


def _remembering(kind: Any, sockets: list[socket.socket]) -> Callable[..., Any]:
    """Return a connection class that appends its socket to a list."""

    class Remembering(kind):
        def connect(self) -> None:
            super().connect()
            sockets.append(self.sock)

    return Remembering


class _Http(HTTPHandler):
    def __init__(self, sockets: list[socket.socket]) -> None:
        super().__init__()
        self._connection = _remembering(http.client.HTTPConnection, sockets)

    def http_open(self, request: Request) -> Any:
        return self.do_open(self._connection, request)


class _Https(HTTPSHandler):
    def __init__(self, sockets: list[socket.socket]) -> None:
        super().__init__()
        self._connection = _remembering(http.client.HTTPSConnection, sockets)

    def https_open(self, request: Request) -> Any:
        return self.do_open(self._connection, request)
