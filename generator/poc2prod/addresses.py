"""Addresses of templates, without the passwords and tokens that they may contain."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from .git_settings import with_settings

URL = re.compile(r"(?<=://)[^\s'\"<>]+")
# Like alice:secret@host:repository.git, without a scheme.
BARE = re.compile(r"(?<![\w/:.@-])[\w.%+-]+:[^\s@/'\"]+@(?=[\w.-]+[:/])")
# Tokens that say what they are, of GitHub and GitLab.
TOKEN = re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-)[\w-]{4,}")
HIDDEN = "***"


def redact(text: str) -> str:
    """Replace passwords and tokens in text: what is printed ends up in logs."""
    text = URL.sub(lambda match: _redact(match[0]), text)
    return TOKEN.sub(HIDDEN, BARE.sub(f"{HIDDEN}@", text))


def _redact(rest: str) -> str:
    """Redact what follows `://`. A password may contain `/`, `?` and `@`."""
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    port = host.rpartition(":")[2]
    if "@" in host or (":" in host and not port.isdecimal()):
        user, at, rest = rest.rpartition("@")
        rest = f"{HIDDEN}@{rest}" if at else f"{HIDDEN}{user}"
    return re.sub(r"[?#].*", f"?{HIDDEN}", rest)


def without_credentials(address: str) -> str:
    """Return an address without user, password and query; the user of ssh stays."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    host, slash, path = rest.partition("/")
    user, at, host = host.rpartition("@")
    kept = f"{user.partition(':')[0]}@" if at and scheme.endswith("ssh") else ""
    return f"{scheme}://{kept}{re.split('[?#]', host + slash + path, maxsplit=1)[0]}"


@contextmanager
def credentials_apart(address: str) -> Iterator[str]:
    """Yield an address without credentials; git still uses them, as long as the block runs.

    So they are neither recorded in a project nor in the arguments of a process.
    """
    clean = without_credentials(address)
    if clean == address or os.path.exists(address):  # noqa: PTH110
        yield address
        return
    full, short = (text.removeprefix("git+") for text in (address, clean))
    with with_settings({f"url.{full}.insteadOf": short}):
        yield clean
