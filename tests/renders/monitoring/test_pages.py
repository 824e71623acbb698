"""The pages of a project are valid HTML, accessible, and update without loading again."""

import re
from pathlib import Path

import html5lib
import pytest

from browser import audit, dump_dom, serve_pages
from server import serving, with_latency_limit


@pytest.fixture(scope="module")
def pages(released: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    found = {"report": (released / "reports/report.html").read_bytes()}
    log = tmp_path_factory.mktemp("pages") / "log"
    paths = {"status": "/", "runbook": "/docs/runbook.md", "alerts": "/docs/runbook/server.md"}
    with serving(released, with_latency_limit(5000), log=log) as server:
        for name, path in paths.items():
            found[name] = server.ask(path).body
    return found


def problems(page: bytes) -> list[str]:
    """Return the errors of the HTML, and the ids that occur twice."""
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    ids = [e.get("id") for e in parser.parse(page).iter() if e.get("id")]
    found = [str(error) for _, error, _ in parser.errors]
    return found + [id for id in sorted(set(ids)) if ids.count(id) > 1]


@pytest.mark.parametrize("name", ["report", "status", "runbook", "alerts"])
def test_pages_are_valid_and_accessible(name: str, pages: dict[str, bytes], tmp_path: Path) -> None:
    page = pages[name]
    assert problems(page) == []
    assert audit(page, tmp_path) == {}


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (b'<p id="twice"></p><i id="twice"></i>', ["twice"]),
        (b"<p><b>open</p>", ["unexpected-end-tag"]),
    ],
    ids=["id", "tag"],
)
def test_errors_of_the_html_are_found(
    fault: bytes, found: list[str], pages: dict[str, bytes]
) -> None:
    assert set(found) <= set(problems(pages["status"].replace(b"</main>", fault + b"</main>")))


def test_barriers_are_found(pages: dict[str, bytes], tmp_path: Path) -> None:
    page = re.sub(rb"</?main>", b"", pages["status"])
    page = page.replace(b"<h2>", b"<h4>").replace(b"</h2>", b"</h4>")
    page = page.replace(b"<title>", b'<meta http-equiv="refresh" content="10"><title>')
    assert {"landmark-one-main", "heading-order", "meta-refresh"} <= set(audit(page, tmp_path))


@pytest.mark.parametrize("is_down", [False, True], ids=["up", "down"])
def test_the_status_page_updates_its_values_in_place(
    is_down: bool, pages: dict[str, bytes], tmp_path: Path
) -> None:
    asked = []

    def answer(path: str) -> bytes:
        asked.append(path)
        if is_down and len(asked) > 1:
            raise OSError("no answer")
        return pages["status"].replace(b"Running since", b"Request %d, since" % len(asked))

    with serve_pages(answer) as site:
        dom = dump_dom(f"{site}/status", tmp_path, "--virtual-time-budget=15000")
    assert asked[:2] == ["/status"] * 2
    assert ("Request 1," in dom) == is_down == bool(re.search(r"✗ No answer since \d", dom))
    assert ("Request 2," in dom) != is_down
