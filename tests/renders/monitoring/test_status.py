"""The status page of a real server in headless Chromium: values after known traffic, not pixels.

Each fault that the page must show, or that the test must see in the page, is planted once.
"""

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
# What later versions, or wide tables, may show: thirty signals in all, and long names.
MORE = """
from scratch_detector.monitoring.live import DRIFT, Monitor
shown = Monitor.show
def show(self):
    shown(self)
    DRIFT.labels("embedding_far").set(1.5)
    for i in range(10):
        DRIFT.labels(f"a_fact_with_quite_a_long_name_that_has_no_blank_{i}").set(0.9)
Monitor.show = show
"""
PHONE_PX = 360
WINDOW = 250  # with which the reference was made


@pytest.fixture(scope="module")
def usual(released: Path) -> list[bytes]:
    """Payloads like those at training."""
    found: list[str] = json.loads(done(run_in(released, "python", "-c", HELD_OUT)))
    return [payload.encode() for payload in found]


@pytest.fixture
def project(released: Path, tmp_path: Path) -> Path:
    shutil.copytree(released, tmp_path / "repo", symlinks=True)
    return tmp_path / "repo"


def changed(folder: Path, file: str, key: str, value: object) -> None:
    text, found = re.subn(rf"(?m)^( *{key}: )\S+", rf"\g<1>{value}", (folder / file).read_text())
    assert found == 1, key
    (folder / file).write_text(text)


def planted(folder: Path, html: str) -> None:
    """Put something at the end of the page; a running server reads it anew."""
    path = folder / "src/scratch_detector/serving/status.html"
    path.write_text(path.read_text().replace("</body>", html + "</body>"))


def label(server: Server, id: str, truth: str) -> None:
    told = json.dumps({"id": id, "label": truth}).encode()
    assert server.ask("/feedback", told, content_type="application/json").status == 200


def state(seen: Seen, name: str) -> str:
    """What a card says of a promise: by class for the colour, and in words."""
    card = seen.cards[name]
    assert {"kept": "✓ kept", "broken": "✗ broken"}.get(card["state"], card["mark"]) == card["mark"]
    assert ("docs/runbook" in card["said"]) == (card["state"] == "broken")
    return card["state"]


def test_the_page_says_what_happened(project: Path, tmp_path: Path, usual: list[bytes]) -> None:
    changed(project, "params.yaml", "labelled_window", 20)
    with serving(project, command="serve", log=tmp_path / "log") as server:
        seen = look(server.port, tmp_path)
        assert [state(seen, name) for name in list(seen.cards)[:4]] == ["waiting"] * 4
        for i in range(30):
            reply = server.ask(body=usual[i], x_request_id=f"r-{i}")
            assert reply.status == 200
            if i < 20:
                label(server, f"r-{i}", reply.json["label"])
        label(server, "nobody", reply.json["label"])
        assert server.ask(body=b"{").status == 422
        seen = look(server.port, tmp_path)
        assert seen.facts["Predictions"] == "30"
        assert (seen.facts["Joined"], seen.facts["Unknown requests"]) == ("20 since the start", "1")
        assert state(seen, "Quality (accuracy)") == "kept"
        assert "1.000" in seen.cards["Quality (accuracy)"]["said"]
        assert "0 of 30 failed" in seen.cards["Available"]["said"]
        assert seen.bars["budgets Available"]["said"] == "100 %"
        manifest = json.loads(next((project / "releases").glob("*/manifest.json")).read_text())
        assert seen.facts["Data, md5"] == manifest["data"]["data/raw"]
        assert seen.facts["Release"].endswith(manifest["name"])
        assert [link.rpartition("/")[2] for link in seen.links] == ["docs", "metrics"]
        assert seen.verdict.startswith("✓") and seen.asked_for == []
        phone = look(server.port, tmp_path, PHONE_PX)
        assert phone.widest_px <= phone.width_px <= PHONE_PX
        # What must not be, planted in the page: this test would see it.
        planted(project, "<pre>" + "wide" * 50 + '</pre><img src="http://other.invalid/x.png">')
        phone = look(server.port, tmp_path, PHONE_PX)
        assert phone.widest_px > phone.width_px
        assert phone.asked_for == ["http://other.invalid/x.png"]


@pytest.mark.long
def test_errors_use_up_their_budget(project: Path, tmp_path: Path) -> None:
    changed(project, "scope.yaml", "min_availability", 0.94)
    with serving(project, SLOW, log=tmp_path / "log") as server:
        for i in range(20):
            assert server.ask(x_timeout_ms="30000").status == 200
            if i == 3:
                seen = look(server.port, tmp_path)
                assert state(seen, "In time") == "unsure", "4 requests have no p95"
                assert seen.bars["budgets In time"]["said"] == "−1900 % ✗"
        assert server.ask(x_timeout_ms="0.001").status == 503
        seen = look(server.port, tmp_path)
        assert state(seen, "In time") == "broken" and seen.verdict == "✗ Broken: In time"
        assert seen.bars["budgets In time"]["share"] == 0
        assert state(seen, "Available") == "kept"
        assert "95.23 %" in (said := seen.cards["Available"]["said"]) and "1 of 21 failed" in said
        assert seen.bars["budgets Available"]["said"] == "20 %"
        assert seen.bars["budgets Available"]["share"] == pytest.approx(0.206, abs=0.01)
        for _ in range(4):
            assert server.ask(x_timeout_ms="0.001").status == 503
        seen = look(server.port, tmp_path)
        assert state(seen, "Available") == "broken" and "Available" in seen.verdict
        assert seen.bars["budgets Available"]["said"] == "−234 % ✗"


@pytest.mark.long
def test_drift_and_wrong_answers_are_marked(
    project: Path, tmp_path: Path, usual: list[bytes]
) -> None:
    labels = json.loads((project / "reports/ingest.json").read_text())["labels"]
    with serving(project, command="serve", log=tmp_path / "log") as server:
        for i in range(WINDOW - 1):
            server.ask(body=usual[i * len(usual) // WINDOW])
        seen = look(server.port, tmp_path)
        assert seen.bars["drift Window filled"]["said"] == "99 %"
        assert f"last {WINDOW} predictions" in seen.sections["drift"]
        assert state(seen, "Worst drift") == "waiting" and len(seen.bars) == 3
        server.ask(body=usual[-1])
        seen = look(server.port, tmp_path)
        assert state(seen, "Worst drift") == "kept"
        bars = {name: bar for name, bar in seen.bars.items() if bar["group"]}
        assert {bar["state"] for bar in bars.values()} == {"kept"}
        assert {bars["drift amount_usd"]["group"], bars["drift label"]["group"]} == {
            "Input",
            "Prediction",
        }
        for i in range(WINDOW):
            answer = server.ask(x_request_id=f"r-{i}").json["label"]
            if i < 200:
                (wrong, *_) = set(labels) - {answer}
                label(server, f"r-{i}", wrong)
        seen = look(server.port, tmp_path)
        assert (
            state(seen, "Worst drift") == "broken" and "#drift" in seen.cards["Worst drift"]["said"]
        )
        moved = seen.bars["drift amount_usd"]
        assert moved["state"] == "broken" and moved["said"].endswith("✗") and moved["share"] == 1
        quality = "Quality (accuracy)"
        assert state(seen, quality) == "broken" and "#quality" in seen.cards[quality]["said"]
        assert seen.verdict == "✗ Broken: Quality (accuracy), Worst drift"


@pytest.mark.long
@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("max_model_mb", 0.0001, "Model size"),
        ("max_cost_usd_month", 1, "Cost a month"),
        ("max_model_age_days", 0.000001, "Model age"),
    ],
)
def test_each_limit_of_the_scope_marks_its_own_card(
    key: str, value: float, name: str, project: Path, tmp_path: Path
) -> None:
    changed(project, "scope.yaml", key, value)
    with serving(project, command="serve", log=tmp_path / "log") as server:
        seen = look(server.port, tmp_path)
        assert [card for card in seen.cards if state(seen, card) == "broken"] == [name]
        assert f"at most {value:g}" in seen.cards[name]["said"]


@pytest.mark.long
def test_thirty_signals_on_a_phone_and_in_the_dark(project: Path, tmp_path: Path) -> None:
    with serving(project, MORE, log=tmp_path / "log") as server:
        for _ in range(WINDOW):
            server.ask()
        by_day = look(server.port, tmp_path, PHONE_PX)
        by_night = look(server.port, tmp_path, PHONE_PX, "--force-dark-mode")
        assert by_day.brightness > 0.8 and by_night.brightness < 0.05
        for seen in (by_day, by_night):
            assert seen.widest_px <= seen.width_px <= PHONE_PX and len(seen.bars) >= 30
            assert seen.contrast >= 4.5  # WCAG 2.2, 1.4.3
        groups = {name: bar["group"] for name, bar in by_day.bars.items()}
        assert groups["drift embedding_norm"] == groups["drift embedding_0"] == "Embedding"
        assert groups["drift entropy"] == groups["drift confidence"] == "Prediction"
        over = by_day.bars["drift embedding_far"]
        assert (over["state"], over["said"]) == ("broken", "1.50 ✗")
        assert over["share"] == pytest.approx(0.75, abs=0.01)
        planted(project, '<p style="color: var(--track)">faint</p>')
        assert look(server.port, tmp_path, PHONE_PX).contrast < 4.5


@pytest.mark.long
def test_a_challenger_and_what_it_did(project: Path, tmp_path: Path) -> None:
    other = release(project, "again")
    with serving(project, command="serve", log=tmp_path / "log") as server:
        assert look(server.port, tmp_path).sections["challenger"].endswith("None is tried.")
        command(project, "challenge", other)
        while not server.trusts(other):
            assert server.process.poll() is None
        seen = look(server.port, tmp_path)
        assert f"{other} may answer 1% of the requests" in seen.sections["challenger"]
        assert {name for name in seen.bars if name.startswith("challenger")} == {
            f"challenger {rule}"
            for rule in ("errors", "latency", "slowdown", "disagreement", "shift", "quality")
        }
