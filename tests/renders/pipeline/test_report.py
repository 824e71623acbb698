"""The report in headless Chromium: its content for known results, on a phone, in dark mode."""

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from browser import Seen, look, print_to_pdf
from repository import done, run_in

PHONE_PX = 390
REPORT = "from scratch_detector.pipeline import report; report.report()"


@pytest.fixture
def project(modelled: Path, tmp_path: Path) -> Path:
    shutil.copytree(modelled, tmp_path / "repo", symlinks=True)
    return tmp_path / "repo"


def edit(project: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the results of one stage, and write the report again."""
    path = project / f"reports/{name}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    done(run_in(project, "python", "-c", REPORT))


@contextmanager
def serve_report(project: Path) -> Iterator[int]:
    """Serve the report at every path; return the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write((project / "reports/report.html").read_bytes())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def see(project: Path, folder: Path, width_px: int = 1200, *flags: str) -> Seen:
    with serve_report(project) as port:
        return look(port, folder, width_px, *flags)


def is_red(colour: str) -> bool:
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    return red > 1.5 * max(green, blue)


def test_the_report_shows_what_was_measured(project: Path, tmp_path: Path) -> None:
    done(run_in(project, "python", "-c", REPORT))
    gates = json.loads((project / "reports/gates.json").read_text())
    quality = json.loads((project / "reports/evaluate.json").read_text())
    seen = see(project, tmp_path)
    assert seen.verdict == f"✓ All {len(gates)} limits met"
    assert len(seen.gates) == len(gates)
    assert {(row["state"], row["mark"]) for row in seen.gates.values()} == {("kept", "✓ met")}
    assert not any(is_red(row["colour"]) for row in seen.gates.values())
    (bound,) = [gate for gate in gates if gate["id"] == "quality"]
    row = next(row for name, row in seen.gates.items() if name.lower() == bound["name"].lower())
    assert row["value"].split() == [f"{bound['observed']:.4g}", "at", "least", "0.9"]
    assert row["margin"] == f"{bound['observed'] - bound['limit']:.4g} above the limit"
    assert seen.facts["Model"] == quality["model_sha256"][:12]
    assert seen.facts["Data"] == "the made-up sample (4,000 examples)"
    assert seen.facts["Owner"] == "not set (interview answer decider)"
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", seen.facts["Trained"])
    for name, score in quality["slices"].items():
        assert f"{name}\n{score['examples']} examples" in seen.sections["slices"]
        assert f"{score['lower_bound']:.4g}" in seen.sections["slices"]
    shipped = json.loads((project / "reports/compress.json").read_text())["shipped"]
    page = (project / "reports/report.html").read_text()
    assert re.findall(r'<tr class="shipped"><th scope="row">(\w+)<', page) == [shipped]


def test_the_report_is_one_file_whose_links_work(project: Path, tmp_path: Path) -> None:
    done(run_in(project, "python", "-c", REPORT))
    page = (project / "reports/report.html").read_text()
    assert "<script" not in page and "@import" not in page
    links = set(re.findall(r'<a href="([^"]+)"', page))
    assert {"../scope.yaml", "../docs/card.md", "../docs/runbook.md"} <= links
    assert [link for link in links if not (project / "reports" / link).exists()] == []
    assert see(project, tmp_path).asked_for == []


def test_limits_that_are_not_met_are_red_and_named(project: Path, tmp_path: Path) -> None:
    def spoil(quality: dict[str, Any]) -> None:
        quality["score"]["lower_bound"] = 0.123
        quality["baseline"]["gain_lower_bound"] = float("nan")

    edit(project, "evaluate", spoil)
    seen = see(project, tmp_path)
    failed = {name: row for name, row in seen.gates.items() if row["state"] == "broken"}
    assert seen.verdict.startswith(f"✗ 2 of {len(seen.gates)} limits not met: accuracy")
    assert [row["value"].split()[0] for row in failed.values()] == ["0.123", "not"]
    assert {row["mark"] for row in failed.values()} == {"✗ not met"}
    assert all(is_red(row["colour"]) for row in failed.values())


def test_names_from_the_data_are_text(project: Path, tmp_path: Path) -> None:
    hostile = '<img src="http://other.invalid/x.png"><script>document.title="x"</script>'

    def rename(quality: dict[str, Any]) -> None:
        quality["labels"][0] = hostile
        quality["slices"][hostile] = quality["score"]

    edit(project, "evaluate", rename)
    seen = see(project, tmp_path)
    assert seen.asked_for == []
    assert hostile in seen.sections["slices"]
    assert "<script" not in (project / "reports/report.html").read_text()


def test_the_report_fits_a_phone_and_the_dark(project: Path, tmp_path: Path) -> None:
    def lengthen(quality: dict[str, Any]) -> None:
        names = [f"a_slice_with_quite_a_long_name_without_blanks_{i}" for i in range(9)]
        quality["slices"] |= dict.fromkeys(names, quality["score"])

    edit(project, "evaluate", lengthen)
    light = see(project, tmp_path, PHONE_PX)
    dark = see(project, tmp_path, PHONE_PX, "--force-dark-mode")
    assert light.brightness > 0.8 and dark.brightness < 0.05
    for seen in (light, dark):
        assert seen.widest_px <= seen.width_px <= PHONE_PX
        assert seen.contrast >= 4.5  # WCAG 2.2, 1.4.3
    # Faults that this test must see.
    path = project / "reports/report.html"
    faults = f'<pre>{"wide" * 50}</pre><p style="color: var(--track)">faint</p>'
    path.write_text(path.read_text().replace("</body>", f"{faults}</body>"))
    spoiled = see(project, tmp_path, PHONE_PX)
    assert spoiled.widest_px > spoiled.width_px and spoiled.contrast < 4.5


def test_the_report_prints_on_few_pages(project: Path, tmp_path: Path) -> None:
    done(run_in(project, "python", "-c", REPORT))
    with serve_report(project) as port:
        pdf = print_to_pdf(f"http://127.0.0.1:{port}/", tmp_path)
    assert 1 <= len(re.findall(rb"/Type /Page\b", pdf)) <= 4
