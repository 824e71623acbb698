"""The status page in headless Chromium, as it is laid out: texts, states, widths, colours."""

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
# The page is in a frame, because no window is as narrow as a phone.
FRAME = """<!doctype html><link rel="icon" href="data:,">
<iframe id="frame" src="/" width="{}" height="900"></iframe>
<pre id="seen"></pre><script>{}</script>"""


class Seen(NamedTuple):
    """What somebody sees."""

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
    """Open the status page of a server in a frame of this width, and say what is seen there."""
    frame = FRAME.format(width_px, (ROOT / "tests/support/inside/look.js").read_text()).encode()

    class Door(BaseHTTPRequestHandler):
        """The server and the frame at one address: browsers let nobody look into another's."""

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

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as door:
        threading.Thread(target=door.serve_forever, daemon=True).start()
        dom = loaded(f"http://127.0.0.1:{door.server_port}/frame", folder, *flags)
        door.shutdown()
    (found,) = re.findall(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
    said = json.loads(unescape(found))
    assert isinstance(said, dict), said
    return Seen(**said)


def loaded(url: str, folder: Path, *flags: str) -> str:
    """Return a page as it is once it is loaded."""
    if not (chromium := shutil.which("chromium")):
        pytest.skip("NOT TESTED: the status page, without Debian's chromium")
    command = [chromium, *FLAGS.split(), f"--user-data-dir={folder / 'chromium'}", *flags]
    run = subprocess.run([*command, "--dump-dom", url], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


def print_to_pdf(url: str, folder: Path) -> bytes:
    """Return a page as it is printed."""
    path = folder / "page.pdf"
    loaded(url, folder, "--no-pdf-header-footer", f"--print-to-pdf={path}")
    return path.read_bytes()


def take_screenshot(url: str, folder: Path, path: Path, width_px: int, height_px: int) -> None:
    """Write the upper part of a page to a PNG."""
    size = f"--window-size={width_px},{height_px}"
    loaded(url, folder, "--hide-scrollbars", size, f"--screenshot={path}")
