"""The status page of a server in headless Chromium: its values after known traffic."""

import json
import re
import shutil
from pathlib import Path

import pytest

from browser import Seen, look
from repository import done, run_in
from server import Server, command, release, serving

HELD_OUT = """
import json
from scratch_detector.artifacts import RAW
from scratch_detector.examples import read_shards, split_of
test = [e.payload.decode() for e in read_shards(RAW) if split_of(e.id) == "test"]
print(json.dumps(test))
"""
SLOW = """
import time
from scratch_detector.predictor import Predictor
fast = Predictor.run
Predictor.run = lambda *inputs: (time.sleep(0.1), fast(*inputs))[1]
"""
# Thirty signals in all, some with long names.
MORE = """
from scratch_detector.monitoring.live import DRIFT, Monitor
original = Monitor.show
def show(self):
    original(self)
    DRIFT.labels("embedding_far").set(1.5)
    for i in range(10):
        DRIFT.labels(f"a_fact_with_quite_a_long_name_that_has_no_blank_{i}").set(0.9)
Monitor.show = show
"""
PHONE_PX = 360
WINDOW = 250  # drift_window of the project


@pytest.fixture(scope="module")
def usual(released: Path) -> list[bytes]:
    """Held-out payloads."""
    payloads: list[str] = json.loads(done(run_in(released, "python", "-c", HELD_OUT)))
    return [payload.encode() for payload in payloads]


@pytest.fixture
def project(released: Path, tmp_path: Path) -> Path:
    shutil.copytree(released, tmp_path / "repo", symlinks=True)
    return tmp_path / "repo"


def set_value(folder: Path, file: str, key: str, value: object) -> None:
    text, count = re.subn(rf"(?m)^( *{key}: )\S+", rf"\g<1>{value}", (folder / file).read_text())
    assert count == 1, key
    (folder / file).write_text(text)


def add_to_page(folder: Path, html: str) -> None:
    """Add HTML to the end of the template, which a running server reloads."""
    path = folder / "src/scratch_detector/serving/status.html"
    path.write_text(path.read_text().replace("</body>", html + "</body>"))


def label(server: Server, id: str, truth: str) -> None:
    body = json.dumps({"id": id, "label": truth}).encode()
    assert server.ask("/feedback", body, content_type="application/json").status == 200


def state_of(seen: Seen, name: str) -> str:
    """Return the state of a limit; its class, its text and the headline must agree."""
    card = seen.cards[name]
    marks = {"met": "✓ met", "missed": "✗ not met"}
    assert marks.get(card["state"], card["mark"]) == card["mark"]
    assert (name in seen.verdict) == (card["state"] == "missed")
    return card["state"]


def test_the_page_shows_known_traffic(project: Path, tmp_path: Path, usual: list[bytes]) -> None:
    set_value(project, "params.yaml", "labelled_window", 20)
    with serving(project, command="serve", log=tmp_path / "log") as server:
        seen = look(server.port, tmp_path)
        assert [state_of(seen, name) for name in list(seen.cards)[:4]] == ["waiting"] * 4
        for i in range(30):
            reply = server.ask(body=usual[i], x_request_id=f"r-{i}")
            assert reply.status == 200
            if i < 20:
                label(server, f"r-{i}", reply.json["label"])
        label(server, "unknown", reply.json["label"])
        assert server.ask(body=b"{").status == 422
        seen = look(server.port, tmp_path)
        assert seen.facts["Predictions"] == "30"
        assert seen.facts["Matched to a request"] == "20 since start"
        assert seen.facts["Unknown request"] == "1"
        assert "0 = perfectly calibrated" in seen.facts["Calibration error"]
        assert state_of(seen, "Quality (accuracy)") == "met"
        assert "1.000" in seen.cards["Quality (accuracy)"]["text"]
        assert "0 of 30 failed" in seen.cards["Availability"]["text"]
        assert seen.bars["budgets Availability"]["text"] == "100 %"
        manifest = json.loads(next((project / "releases").glob("*/manifest.json")).read_text())
        assert seen.facts["Data (MD5)"] == manifest["data"]["data/raw"]
        assert seen.facts["Release"].endswith(manifest["name"])
        assert [link.rpartition("/")[2] for link in seen.links] == ["docs", "metrics"]
        assert re.fullmatch(r"✓ \d of 7 limits met, \d without enough data yet", seen.verdict)
        assert seen.asked_for == []
        phone = look(server.port, tmp_path, PHONE_PX)
        assert phone.widest_px <= phone.width_px <= PHONE_PX
        # Faults in the page are detected.
        add_to_page(project, "<pre>" + "wide" * 50 + '</pre><img src="http://other.invalid/x.png">')
        phone = look(server.port, tmp_path, PHONE_PX)
        assert phone.widest_px > phone.width_px
        assert phone.asked_for == ["http://other.invalid/x.png"]


@pytest.mark.long
def test_errors_use_up_the_budget(project: Path, tmp_path: Path) -> None:
    set_value(project, "scope.yaml", "min_availability", 0.94)
    with serving(project, SLOW, log=tmp_path / "log") as server:
        for i in range(20):
            assert server.ask(x_timeout_ms="30000").status == 200
            if i == 3:
                seen = look(server.port, tmp_path)
                assert state_of(seen, "Latency") == "unclear", "4 requests have no p95"
                assert seen.bars["budgets Latency"]["text"] == "−1900 % ✗"
        assert server.ask(x_timeout_ms="0.001").status == 503
        seen = look(server.port, tmp_path)
        assert state_of(seen, "Latency") == "missed"
        assert seen.verdict.startswith("✗ Limits not met: Latency\n")
        assert re.search(r"first seen .* UTC \(\d+ s ago\)\. Check the load", seen.verdict)
        assert seen.bars["budgets Latency"]["share"] == 0
        assert state_of(seen, "Availability") == "met"
        text = seen.cards["Availability"]["text"]
        assert "95.23 %" in text and "1 of 21 failed" in text
        assert seen.bars["budgets Availability"]["text"] == "20 %"
        assert seen.bars["budgets Availability"]["share"] == pytest.approx(0.206, abs=0.01)
        for _ in range(4):
            assert server.ask(x_timeout_ms="0.001").status == 503
        seen = look(server.port, tmp_path)
        assert state_of(seen, "Availability") == "missed" and "Availability" in seen.verdict
        assert seen.bars["budgets Availability"]["text"] == "−234 % ✗"


@pytest.mark.long
def test_drift_and_wrong_predictions_are_marked(
    project: Path, tmp_path: Path, usual: list[bytes]
) -> None:
    labels = json.loads((project / "reports/ingest.json").read_text())["labels"]
    with serving(project, command="serve", log=tmp_path / "log") as server:
        for i in range(WINDOW - 1):
            server.ask(body=usual[i * len(usual) // WINDOW])
        seen = look(server.port, tmp_path)
        assert seen.bars["drift Window filled"]["text"] == "99 %"
        assert f"last {WINDOW} predictions" in seen.sections["drift"]
        assert state_of(seen, "Drift") == "waiting" and len(seen.bars) == 3
        server.ask(body=usual[-1])
        seen = look(server.port, tmp_path)
        assert state_of(seen, "Drift") == "met"
        assert "estimated from the confidence" in seen.cards["Quality (accuracy)"]["text"]
        bars = {name: bar for name, bar in seen.bars.items() if bar["group"]}
        assert {bar["state"] for bar in bars.values()} == {"met"}
        assert {bars["drift amount_usd"]["group"], bars["drift label"]["group"]} == {
            "Input",
            "Prediction",
        }
        for i in range(WINDOW):
            prediction = server.ask(x_request_id=f"r-{i}").json["label"]
            if i < 199:
                (wrong, *_) = set(labels) - {prediction}
                label(server, f"r-{i}", wrong)
        seen = look(server.port, tmp_path)
        text = seen.cards["Quality (accuracy)"]["text"]
        assert "not estimated while inputs drift" in text and "≈" not in text
        label(server, "r-199", wrong)
        seen = look(server.port, tmp_path)
        assert state_of(seen, "Drift") == "missed"
        moved = seen.bars["drift amount_usd"]
        assert moved["state"] == "missed" and moved["text"].endswith("✗") and moved["share"] == 1
        assert state_of(seen, "Quality (accuracy)") == "missed"
        assert seen.verdict.startswith("✗ Limits not met: Quality (accuracy), Drift\n")
        links = [link.partition("docs/runbook/server.md")[2] for link in seen.links]
        assert "#qualitybelowpromise" in links and {"#inputdrift", "#predictiondrift"} & {*links}
        page = server.ask("/docs/runbook/server.md").body.decode()
        assert '<section id="inputdrift">' in page and "First action" in page


@pytest.mark.long
@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("max_model_mb", 0.0001, "Model size"),
        ("max_cost_usd_month", 1, "Cost per month"),
        ("max_model_age_days", 0.000001, "Model age"),
    ],
)
def test_each_limit_of_the_scope_marks_its_own_card(
    key: str, value: float, name: str, project: Path, tmp_path: Path
) -> None:
    set_value(project, "scope.yaml", key, value)
    with serving(project, command="serve", log=tmp_path / "log") as server:
        seen = look(server.port, tmp_path)
        assert [card for card in seen.cards if state_of(seen, card) == "missed"] == [name]
        assert f"at most {value:g}" in seen.cards[name]["text"]


@pytest.mark.long
def test_thirty_signals_on_a_phone_and_in_dark_mode(project: Path, tmp_path: Path) -> None:
    with serving(project, MORE, log=tmp_path / "log") as server:
        for _ in range(WINDOW):
            server.ask()
        light = look(server.port, tmp_path, PHONE_PX)
        dark = look(server.port, tmp_path, PHONE_PX, "--force-dark-mode")
        assert light.brightness > 0.8 and dark.brightness < 0.05
        for seen in (light, dark):
            assert seen.widest_px <= seen.width_px <= PHONE_PX and len(seen.bars) >= 30
            assert seen.contrast >= 4.5  # WCAG 2.2, 1.4.3
        groups = {name: bar["group"] for name, bar in light.bars.items()}
        assert groups["drift embedding_norm"] == groups["drift embedding_0"] == "Embedding"
        assert groups["drift entropy"] == groups["drift confidence"] == "Prediction"
        over = light.bars["drift embedding_far"]
        assert (over["state"], over["text"]) == ("missed", "1.50 ✗")
        assert over["share"] == pytest.approx(0.75, abs=0.01)
        add_to_page(project, '<p style="color: var(--track)">faint</p>')
        assert look(server.port, tmp_path, PHONE_PX).contrast < 4.5


@pytest.mark.long
def test_the_page_shows_the_challenger(project: Path, tmp_path: Path) -> None:
    other = release(project, "again")
    with serving(project, command="serve", log=tmp_path / "log") as server:
        assert look(server.port, tmp_path).sections["challenger"].endswith("No challenger running")
        command(project, "challenge", other)
        while not server.challenger_share(other):
            assert server.process.poll() is None
        seen = look(server.port, tmp_path)
        assert f"{other} serves 1% of the requests" in seen.sections["challenger"]
        assert {name for name in seen.bars if name.startswith("challenger")} == {
            f"challenger {rule}"
            for rule in ("errors", "latency", "slowdown", "disagreement", "shift", "quality")
        }
