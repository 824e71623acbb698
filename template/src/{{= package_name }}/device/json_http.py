"""JSON over HTTP, as a client and as a server, with the standard library alone."""

import json
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.request import Request, urlopen

# A reply names the stored events: 100 ids of 64 characters take 7 kB. A wrong address may answer
# with a page of any length, which must not fill the memory of a device.
MAX_REPLY_BYTES = 100_000


def post(url: str, body: bytes, headers: dict[str, str], timeout_s: float) -> Any:
    """Send a body and return the reply.

    Raises:
        OSError: no reply, or a status of 400 and above.
        ValueError: the reply is not JSON.
    """
    request = Request(url, body, headers)  # noqa: S310 (scope.Params takes http and https only)
    with urlopen(request, timeout=timeout_s) as response:  # noqa: S310
        return json.loads(response.read(MAX_REPLY_BYTES))


class JsonHandler(BaseHTTPRequestHandler):
    """A request handler that reads a bounded body and answers with JSON."""

    timeout = 10  # s of each read: a client that stops sending holds its thread for no longer

    def read_body(self, max_bytes: int) -> bytes:
        """Read a body of up to twice the limit.

        A body that is too large has to be read before it can be refused: a client that is still
        sending when the connection closes sees a reset, not the answer. Beyond twice the limit it
        may see the reset.
        """
        length = self.headers.get("content-length", "")
        size = int(length) if length.isdecimal() else 0
        return self.rfile.read(min(size, 2 * max_bytes))

    def answer_json(self, status: int, content: dict[str, Any]) -> None:
        self.answer(status, json.dumps(content).encode(), "application/json")

    def answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response_only(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
