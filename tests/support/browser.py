"""Open the status page in headless Chromium and measure it: texts, states, widths, colours."""

import json
import re
import shutil
import subprocess
import threading
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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

    class Proxy(BaseHTTPRequestHandler):
        """Serves frame and page from one origin: scripts cannot read a frame of another origin."""

        def do_GET(self) -> None:
            body = frame
            if self.path != "/frame":
                with urlopen(f"http://127.0.0.1:{port}{self.path}") as reply:
                    body = reply.read()
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        dom = dump_dom(f"http://127.0.0.1:{proxy.server_port}/frame", folder, *flags)
        proxy.shutdown()
    (text,) = re.findall(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
    content = json.loads(unescape(text))
    assert isinstance(content, dict), content
    return Seen(**content)


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
