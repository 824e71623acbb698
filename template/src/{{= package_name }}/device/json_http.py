"""JSON over HTTP for devices and their collector, with the standard library only."""

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.request import Request, urlopen

# A reply lists the stored events: 100 ids of 64 characters take 7 kB. The limit protects the memory
# of a device if the URL belongs to another server.
MAX_REPLY_BYTES = 100_000


def post(url: str, body: bytes, headers: dict[str, str], timeout_s: float) -> Any:
    """Send a body and return the reply.

    Raises:
        OSError: no reply, or a status of 400 or above.
        ValueError: the reply is not JSON.
    """
    request = Request(url, body, headers)  # noqa: S310 (scope.Params allows http and https only)
    with urlopen(request, timeout=timeout_s) as response:  # noqa: S310
        return json.loads(response.read(MAX_REPLY_BYTES))


class JsonHandler(BaseHTTPRequestHandler):
    """A request handler that reads bodies of limited size and replies with JSON."""

    timeout = 10  # seconds per read; a client that stops sending frees its thread after that

    def read_body(self, max_bytes: int) -> bytes:
        """Read up to twice `max_bytes`; the caller rejects a body that is too large.

        A client that is still sending when the connection closes gets a reset instead of the reply.
        Beyond twice the limit, that is accepted.
        """
        length = self.headers.get("content-length", "")
        size = int(length) if length.isdecimal() else 0
        return self.rfile.read(min(size, 2 * max_bytes))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send errors of the base class, such as an unknown method, as JSON."""
        self.close_connection = True
        self.reply_json(code, {"detail": message or self.responses[HTTPStatus(code)][0]})

    def reply_json(self, status: int, content: dict[str, Any]) -> None:
        self.reply(status, json.dumps(content).encode(), "application/json")

    def reply(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response_only(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
