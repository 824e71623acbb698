"""Protection against web pages that use the browser of a visitor to reach the server."""

from collections.abc import Callable
from ipaddress import ip_address

from starlette.types import Message, Send
from starlette.types import Scope as Connection

# Browsers send these to any address without asking the server first (CORS), for pages of others. A
# body without a type is accepted: clients of Triton send it, and browsers add `Origin` to it.
SIMPLE_TYPES = ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded")
MAX_KNOWN = 100  # values of `Host` that were allowed, so that most requests need no parsing
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"frame-ancestors 'none'; base-uri 'none'; object-src 'none'"),
]


def host_check(allowed: str, listens_on: str) -> Callable[[Connection], int]:
    """Return a function that returns the status for a request of a foreign page, or 0.

    421: the `Host` is not allowed. 403: the `Origin` is another one.
    """
    names = {name.lower() for name in allowed.split()}
    is_local = _is_address(listens_on, only_loopback=True) or listens_on == "localhost"
    known: set[bytes] = set()

    def check(connection: Connection) -> int:
        host, origin = b"", b""
        for key, value in connection["headers"]:
            if key == b"host":
                host = value
            elif key == b"origin":
                origin = value
        if host not in known:
            if not _is_allowed(host.decode("latin-1"), names, is_local):
                return 421
            if len(known) < MAX_KNOWN:
                known.add(host)
        return 403 if origin and origin.partition(b"://")[2] != host else 0

    return check


def _is_allowed(host: str, names: set[str], is_local: bool) -> bool:
    name = host.lower().removesuffix(".")
    if not name.endswith("]"):
        name = name.rpartition(":")[0] or name
    if names:
        return name in names
    # A name without a dot is none of the public DNS, so no foreign page can have it.
    return not is_local or "." not in name or _is_address(name.strip("[]"))


def _is_address(host: str, only_loopback: bool = False) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or not only_loopback


def add_headers(send: Send) -> Send:
    """Keep pages from being framed, and their type from being guessed."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *HEADERS]
        await send(message)

    return send_with_headers
