"""Projects that forecast a series: from a table to a served forecast that later rows judge."""

import csv
import json
import re
import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from conftest import Render, Shared
from repository import done, run_in
from server import Server, release, serving

PIPELINE = (
    "from scratch_detector.cli import STAGES, run; [run(n) for n in (*STAGES, 'card', 'example')]"
)
STRICT = {"max_error": "0.000001", "min_coverage": "0.9999", "min_gain_over_baseline": "0.9999"}


@pytest.fixture
def series(render: Render, shared: Shared) -> Path:
    """A project for a server and devices, and a model that meets its limits."""

    def make(folder: Path) -> None:
        done(run_in(folder, "git", "init", "-q", "-b", "main"))
        printed = done(run_in(folder, "python", "-c", PIPELINE))
        assert "All 24 limits met." in printed

    answers = {"modality": "tabular", "target": "hybrid", "problem": "forecast"}
    return shared("series", render(**answers), make)


@pytest.fixture
def copied(series: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    shutil.copytree(series, folder, symlinks=True)
    return folder


def write_sales(path: Path, days: int) -> Path:
    """Write the sales of 15 shops until some day."""
    rng = np.random.default_rng(3)
    mean = 50 + 20 * np.sin(2 * np.pi * np.arange(days) / 7)
    noise = rng.normal(0, 3, (60, 15))[:days]
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["day", "shop", "sold"])
        for day in range(days):
            text = date(2026, 3, 1) + timedelta(days=day)
            lines.writerows([text, f"shop-{i}", mean[day] + noise[day, i]] for i in range(15))
    return path


ARRIVALS = """
import json, sys
from pathlib import Path
from scratch_detector.tables.windows import find_arrived, find_latest
read = {"latest": find_latest, "arrived": find_arrived}[sys.argv[1]]
print(json.dumps([window._asdict() for window in read(Path(sys.argv[2]))]))
"""


def read_windows(folder: Path, which: str, table: Path) -> list[dict[str, object]]:
    printed = done(run_in(folder, "python", "-c", ARRIVALS, which, str(table)))
    windows: list[dict[str, object]] = json.loads(printed)
    return windows


@pytest.mark.long
def test_a_forecast_is_served_and_judged_by_the_rows_that_arrive(copied: Path) -> None:
    release(copied)
    with serving(copied, command="serve") as server:
        first = server.ask("/predict", server.payload).json
        assert len(first["values"]) == len(first["low"]) == len(first["high"]) == 7
        ends = zip(first["low"], first["values"], first["high"], strict=True)
        assert all(low < value < high for low, value, high in ends) and "label" not in first
        schema = server.ask("/openapi.json").json["components"]["schemas"]["Answer"]
        assert list(schema["properties"]) == ["id", "values", "low", "high", "model_sha256"]
        for body, words in (
            (b'{"history": [1, 2]}', b"28 latest values"),
            (b'{"history": ["x"]}', b"history"),
        ):
            refused = server.ask("/predict", body, content_type="application/json")
            assert refused.status == 422 and words in refused.body
        # Each day, forecast all series; a week later, the same table has the answers.
        for days in range(28, 35):
            table = write_sales(copied / "sales.csv", days)
            for window in read_windows(copied, "latest", table):
                sent = json.dumps({"history": window["history"]}).encode()
                said = server.ask("/predict", sent, x_request_id=str(window["id"]))
                assert said.status == 200 and said.json["id"] == window["id"]
        table = write_sales(copied / "sales.csv", 60)
        joined = []
        for window in read_windows(copied, "arrived", table):
            label = {"id": window["id"], "values": window["answer"], "slice": window["slice"]}
            body = json.dumps(label).encode()
            reply = server.ask("/feedback", body, content_type="application/json")
            joined.append(reply.json["joined"])
        assert sum(joined) == 7 * 15 and len(joined) == 26 * 15
        assert server.metric('labels_total{joined="yes"}') == 105
        assert server.metric("labelled_window_fill_ratio") > 0.5
        page = server.ask("/").body.decode()
        assert "Quality (wape)" in page and "at most 0.15" in page
        wrong = json.dumps({"id": "shop-1:2026-03-28", "values": [1.5]}).encode()
        refused = server.ask("/feedback", wrong, content_type="application/json")
        assert refused.status == 422 and b"7 values, one for each step" in refused.body
        check_tensors(server, first)


def check_tensors(server: Server, first: dict[str, list[float]]) -> None:
    """The Open Inference Protocol has one row per payload, in JSON and as binary data."""
    path = "/v2/models/scratch-detector"
    outputs = server.ask(path).json["outputs"]
    assert outputs[0] == {"name": "values", "datatype": "FP32", "shape": [-1, -1]}
    payload = server.payload.decode()
    tensor = {"name": "payload", "datatype": "BYTES", "shape": [2], "data": [payload, payload]}
    sent = json.dumps({"inputs": [tensor]}).encode()
    answered = server.ask(f"{path}/infer", sent).json["outputs"]
    assert [output["name"] for output in answered] == ["values", "low", "high"]
    assert answered[0]["shape"] == [2, 7]
    assert answered[0]["data"] == pytest.approx(2 * first["values"])


@pytest.mark.long
@pytest.mark.parametrize(
    ("key", "gate"),
    [
        ("max_error", "quality"),
        ("min_coverage", "coverage"),
        ("min_gain_over_baseline", "baseline_gain"),
    ],
)
def test_a_stricter_limit_of_forecasts_is_not_met(copied: Path, key: str, gate: str) -> None:
    scope = (copied / "scope.yaml").read_text()
    (copied / "scope.yaml").write_text(re.sub(rf"(?m)^{key}: \S+", f"{key}: {STRICT[key]}", scope))
    result = run_in(copied, "python", "-m", "scratch_detector", "check")
    assert result.returncode == 1 and f"  {gate}: " in result.stderr


@pytest.mark.long
def test_a_device_forecasts_and_has_a_fail_safe(copied: Path) -> None:
    code = (
        "from scratch_detector.device.decide import Decider\n"
        "print(Decider().decide(open('data/example.json', 'rb').read()))\n"
        "print(Decider().decide(b'no input'))"
    )
    decided, refused = done(run_in(copied, "python", "-c", code)).splitlines()
    assert "'low': [" in decided
    assert "'values': None" in refused and "'fail_safe': 'refused'" in refused


@pytest.mark.long
def test_the_card_and_the_report_show_the_steps(series: Path) -> None:
    card, page = ((series / path).read_text() for path in ("docs/card.md", "reports/report.html"))
    assert "Held-out windows by step ahead" in card and "Forecasts the next 7 values" in card
    assert "Forecast against truth" in page and "Error by step" in page
    assert "It was tested on the latest examples (column day)" in card


@pytest.mark.long
@pytest.mark.parametrize(
    "tests",
    [
        "tests/problem tests/serving tests/device/test_loop.py",
        pytest.param("", marks=pytest.mark.matrix, id="all"),
    ],
)
def test_the_tests_of_the_project_with_series_pass(tests: str, copied: Path) -> None:
    done(run_in(copied, "python", "-m", "scratch_detector", "size"))
    done(run_in(copied, "python", "-m", "pytest", "-q", *tests.split()))
