"""The pictures in docs/images. `make screenshots` takes them again from a project it makes."""

import base64
import json
import os
import re
import struct
from html import unescape
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from browser import take_screenshot
from conftest import Render, Shared
from environment import ROOT
from repository import commit_files, done, run_in
from server import command, release, serving

IMAGES = ROOT / "docs/images"
README = ROOT / "README.md"
SCREEN = re.compile(r"<!-- screen -->\n```\w*\n(.*?)\n```\n<!-- /screen -->", re.DOTALL)
GATES = re.compile(r"(?<=<!-- gates -->\n```\n).*?(?=\n```\n<!-- /gates -->)", re.DOTALL)
# A gate as `check` prints it. The name of a slice depends on the data.
GATE = re.compile(r"^pass  (.+?)(?:: [\w-]+, .*)? +\S+ ([<>]=) \S+$", re.MULTILINE)
HEIGHTS_PX = {"report.png": 1300, "status.png": 1300}
WIDTH_PX = 1200
MAX_BYTES = 150_000
COLOURS = 128  # of a PNG: pages are flat, and look the same with fewer bytes
REQUESTS = 320  # more than the drift window and the window of labels hold
HELD_OUT = f"""
import base64, json
from scratch_detector.artifacts import RAW
from scratch_detector.examples import read_shards, split_of
test = [e for e in read_shards(RAW) if split_of(e.id) == "test"][:{REQUESTS}]
print(json.dumps([(base64.b64encode(e.payload).decode(), e.label) for e in test]))
"""
UPDATE = pytest.mark.skipif(
    not os.environ.get("UPDATE_SCREENSHOTS"), reason="`make screenshots` takes them"
)
THEME = TerminalTheme(
    (28, 34, 31),
    (230, 235, 232),
    [(28, 34, 31), (255, 138, 128), (95, 193, 151), (224, 176, 74)]
    + [(120, 170, 240), (200, 150, 230), (110, 200, 210), (230, 235, 232)],
)


@pytest.fixture(scope="session")
def pictured(render: Render, shared: Shared) -> Path:
    """A released project on images, committed before its model was made."""

    def make(folder: Path) -> None:
        commit_files(folder)
        done(run_in(folder, "make", "model"))
        command(folder, "example")
        release(folder)

    return shared("pictured", render(modality="image", target="cloud"), make)


def store(name: str, url: str, folder: Path) -> None:
    """Take a screenshot and store it with few colours."""
    take_screenshot(url, folder, folder / name, WIDTH_PX, HEIGHTS_PX[name])
    buffer = BytesIO()
    with Image.open(folder / name) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
            buffer, "PNG", optimize=True
        )
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / name).write_bytes(buffer.getvalue())


@UPDATE
def test_take_the_picture_of_the_report(pictured: Path, tmp_path: Path) -> None:
    store("report.png", (pictured / "reports/report.html").as_uri(), tmp_path)


@UPDATE
def test_take_the_picture_of_the_status_page(pictured: Path, tmp_path: Path) -> None:
    examples = json.loads(done(run_in(pictured, "python", "-c", HELD_OUT)))
    with serving(pictured, command="serve", log=tmp_path / "log") as server:
        for i, (payload, label) in enumerate(examples):
            reply = server.ask(body=base64.b64decode(payload), x_request_id=f"r-{i}")
            assert reply.status == 200
            truth = json.dumps({"id": f"r-{i}", "label": label}).encode()
            server.ask("/feedback", truth, content_type="application/json")
        store("status.png", f"http://127.0.0.1:{server.port}/", tmp_path)


def draw_interview() -> str:
    """Return the screen of the interview in the README as an SVG that loads nothing."""
    (screen,) = SCREEN.findall(README.read_text())
    lines = screen.splitlines()
    text = Text("\n".join(lines))
    text.highlight_regex(r"(?m)^\(\d+/\d+\).*(\n {3,}\S.*)?", "bold")
    text.highlight_regex(r"(?m)^  (?! ).*$", "green")
    text.highlight_regex(r"(?m)^ \S.*$", "cyan")
    console = Console(
        record=True, width=max(map(len, lines)) + 1, file=StringIO(), force_terminal=True
    )
    console.print(text, soft_wrap=True)
    svg = console.export_svg(title="poc2prod new", theme=THEME, unique_id="interview")
    svg = re.sub(r"@font-face \{.*?\}|<!--.*?-->", "", svg, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def print_gates(project: Path) -> str:
    return done(run_in(project, "python", "-m", "scratch_detector", "check")).rstrip()


@UPDATE
def test_record_the_gates_of_the_readme(pictured: Path) -> None:
    README.write_text(GATES.sub(lambda _: print_gates(pictured), README.read_text(), count=1))


def test_the_readme_shows_the_gates_and_limits_of_the_defaults(modelled: Path) -> None:
    (shown,) = GATES.findall(README.read_text())
    gates = set(GATE.findall(shown))
    printed = set(GATE.findall(print_gates(modelled)))
    assert len(gates) == shown.count("pass  ") == 21
    assert {gate for gate in gates if "server" not in gate[0]} <= printed
    assert f"All {len(gates)} limits met." in shown


@UPDATE
def test_take_the_picture_of_the_interview() -> None:
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / "interview.svg").write_text(draw_interview())


@pytest.mark.parametrize("name", HEIGHTS_PX)
def test_a_picture_has_the_size_of_its_page(name: str) -> None:
    content = (IMAGES / name).read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) <= MAX_BYTES
    assert struct.unpack(">II", content[16:24]) == (WIDTH_PX, HEIGHTS_PX[name])


def test_the_picture_of_the_interview_is_that_of_the_readme() -> None:
    svg = (IMAGES / "interview.svg").read_text()
    assert set(re.findall(r"https?://[^\s\"')]+", svg)) <= {"http://www.w3.org/2000/svg"}
    words = unescape(" ".join(re.findall(r">([^<]*)</text>", svg))).replace("\xa0", " ").split()
    (screen,) = SCREEN.findall(README.read_text())
    drawn = "".join(words)
    missing = [line for line in screen.splitlines() if "".join(line.split()) not in drawn]
    assert missing == [], "run `make screenshots`"


def test_pictures_in_the_readme_are_described() -> None:
    text = README.read_text()
    shown = re.findall(r"!\[([^\]]*)\]\(docs/images/([^)]+)\)", text)
    shown += [(alt, name) for name, alt in re.findall(r'src="docs/images/(.+?)" alt="(.*?)"', text)]
    assert len(shown) == text.count("docs/images/")
    assert [name for alt, name in shown if len(alt) < 20] == []
    assert [name for _, name in shown if not (IMAGES / name).exists()] == []
