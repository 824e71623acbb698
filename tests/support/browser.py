"""Open the status page in headless Chromium and measure it: texts, states, widths, colours."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest

from environment import ROOT

FLAGS = """--headless=new --no-sandbox --disable-gpu --no-first-run --disable-sync
--disable-extensions --disable-background-networking --disable-component-update
--disable-default-apps --window-size=1400,1000"""
# The page is in a frame, because a window cannot be as narrow as a phone.
FRAME = """<!doctype html><link rel="icon" href="data:,">
<iframe id="frame" src="/" width="{}" height="900"></iframe>
<pre id="seen"></pre><script>{}</script>"""
AUDIT = b"""<script src="/axe.js"></script><script>
const broken = (rule) => [rule.id, rule.nodes.map((node) => node.html.slice(0, 200))];
axe.run().then((found) => {
  const seen = document.createElement("pre");
  seen.id = "seen";
  seen.textContent = JSON.stringify(found.violations.map(broken));
  document.body.append(seen);
});
</script>"""


class Seen(NamedTuple):
    """The visible content of a status page."""

    verdict: str
    cards: dict[str, dict[str, str]]
    bars: dict[str, dict[str, Any]]
    gates: dict[str, dict[str, str]]  # of a report
    facts: dict[str, str]
    sections: dict[str, str]
    links: list[str]
    asked_for: list[str]
    width_px: float
    widest_px: float
    contrast: float
    brightness: float


def look(port: int, folder: Path, width_px: int = 1200, *flags: str) -> Seen:
    """Open the status page of a server in a frame of this width, and read its content."""
    frame = FRAME.format(width_px, (ROOT / "tests/support/inside/look.js").read_text()).encode()

    def answer(path: str) -> bytes:
        """Frame and page have one origin: scripts cannot read a frame of another origin."""
        if path == "/frame":
            return frame
        with urlopen(f"http://127.0.0.1:{port}{path}") as reply:
            return bytes(reply.read())

    with serve_pages(answer) as site:
        dom = dump_dom(f"{site}/frame", folder, *flags)
    (text,) = re.findall(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
    content = json.loads(unescape(text))
    assert isinstance(content, dict), content
    return Seen(**content)


@contextmanager
def serve_pages(answer: Callable[[str], bytes]) -> Iterator[str]:
    """Serve what a function returns for a path; its errors are 503. Yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                status, body = 200, answer(self.path)
            except OSError as error:
                status, body = 503, str(error).encode()
            kind = "text/javascript" if self.path.endswith(".js") else "text/html; charset=utf-8"
            self.send_response(status)
            self.send_header("content-type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def audit(page: bytes, folder: Path) -> dict[str, list[str]]:
    """Return the rules of accessibility that a page breaks, by axe-core, with the elements."""
    pages = {"/": page.replace(b"</body>", AUDIT + b"</body>")}
    pages["/axe.js"] = files("axe_core_python").joinpath("axe.min.js").read_bytes()
    with serve_pages(lambda path: pages[path]) as site:
        dom = dump_dom(f"{site}/", folder, "--virtual-time-budget=5000")
    (text,) = re.findall(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
    return {rule: elements for rule, elements in json.loads(unescape(text))}


def dump_dom(url: str, folder: Path, *flags: str) -> str:
    """Return the DOM of a loaded page as HTML."""
    if not (chromium := shutil.which("chromium")):
        pytest.skip("NOT TESTED: the status page needs Debian's chromium")
    command = [chromium, *FLAGS.split(), f"--user-data-dir={folder / 'chromium'}", *flags]
    run = subprocess.run([*command, "--dump-dom", url], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


def print_to_pdf(url: str, folder: Path) -> bytes:
    """Return a page as it is printed."""
    path = folder / "page.pdf"
    dump_dom(url, folder, "--no-pdf-header-footer", f"--print-to-pdf={path}")
    return path.read_bytes()


def take_screenshot(url: str, folder: Path, path: Path, width_px: int, height_px: int) -> None:
    """Write the upper part of a page to a PNG."""
    size = f"--window-size={width_px},{height_px}"
    dump_dom(url, folder, "--hide-scrollbars", size, f"--screenshot={path}")
