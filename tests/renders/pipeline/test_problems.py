"""Projects with other answers than one label: from data to a served answer, all limits tested."""

import csv
import json
import re
import runpy
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from conftest import Render, Shared
from repository import done, run_in
from server import release, serving

PIPELINE = (
    "from scratch_detector.cli import STAGES, run; [run(n) for n in (*STAGES, 'card', 'example')]"
)
STRICT = {"max_error": "0.000001", "min_coverage": "0.9999", "min_gain_over_baseline": "0.9999"}


@pytest.fixture
def numbers(render: Render, shared: Shared) -> Path:
    """A table project with a number as its answer, and a model that meets its limits."""

    def make(folder: Path) -> None:
        done(run_in(folder, "git", "init", "-q", "-b", "main"))
        printed = done(run_in(folder, "python", "-c", PIPELINE))
        assert "All 22 limits met." in printed

    answers = {"modality": "tabular", "target": "cloud", "problem": "regression"}
    return shared("numbers", render(**answers), make)


@pytest.mark.long
def test_a_number_is_served_with_an_interval_and_judged_by_feedback(
    numbers: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(numbers, folder, symlinks=True)
    release(folder)
    with serving(folder, command="serve") as server:
        first = json.loads(server.ask("/predict", server.payload).body)
        assert first["low"] < first["value"] < first["high"] and "label" not in first
        schema = json.loads(server.ask("/openapi.json").body)["components"]["schemas"]["Answer"]
        assert list(schema["properties"]) == ["id", "value", "low", "high", "model_sha256"]
        for number in range(200):  # all labels are far from the answers
            id = f"r-{number}"
            said = json.loads(server.ask("/predict", server.payload, x_request_id=id).body)
            label = {"id": id, "value": said["high"] + 1000}
            body = json.dumps(label).encode()
            reply = server.ask("/feedback", body, content_type="application/json")
            assert json.loads(reply.body) == {"joined": True}
        assert server.metric("labelled_quality_at_least") > 900
        assert server.metric("interval_coverage_at_most") < 0.1
        page = server.ask("/").body.decode()
        assert "Quality (mae)" in page and "at most 20" in page and "✗ not met" in page
        wrong = server.ask(
            "/feedback", b'{"id": "r-1", "value": "much"}', content_type="application/json"
        )
        assert wrong.status == 422 and b"value" in wrong.body
        tensor = {"name": "payload", "datatype": "BYTES", "shape": [1]}
        tensor["data"] = [server.payload.decode()]
        sent = json.dumps({"inputs": [tensor]}).encode()
        path = "/v2/models/scratch-detector/infer"
        outputs = json.loads(server.ask(path, sent).body)["outputs"]
        assert [output["name"] for output in outputs] == ["value", "low", "high"]
        assert outputs[0]["data"] == [pytest.approx(first["value"])]


@pytest.mark.long
@pytest.mark.parametrize(
    ("key", "gate"),
    [
        ("max_error", "quality"),
        ("min_coverage", "coverage"),
        ("min_gain_over_baseline", "baseline_gain"),
    ],
)
def test_a_stricter_limit_is_not_met(numbers: Path, tmp_path: Path, key: str, gate: str) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(numbers, folder, symlinks=True)
    scope = (folder / "scope.yaml").read_text()
    (folder / "scope.yaml").write_text(re.sub(rf"(?m)^{key}: \S+", f"{key}: {STRICT[key]}", scope))
    result = run_in(folder, "python", "-m", "scratch_detector", "check")
    assert result.returncode == 1 and f"  {gate}: " in result.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("modality", "target"),
    [("image", "hybrid"), pytest.param("audio", "edge", marks=pytest.mark.matrix)],
)
def test_numbers_of_images_and_sounds_meet_their_limits(
    render: Render, tmp_path: Path, modality: str, target: str
) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(render(modality=modality, target=target, problem="regression"), folder)
    done(run_in(folder, "git", "init", "-q", "-b", "main"))
    assert " limits met." in done(run_in(folder, "python", "-c", PIPELINE))
    decide = (
        "from scratch_detector.device.decide import Decider; import sys; print(Decider().decide("
    )
    (example,) = (folder / "data").glob("example.*")
    code = f"{decide}open('{example}', 'rb').read()))"
    assert "'low': " in done(run_in(folder, "python", "-c", code))


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        ({"value": 3, "low": 2, "high": 4}, True),
        ({"value": 3, "low": 0.5, "high": 4}, False),
        ({"value": 3, "low": 2, "high": 5.5}, False),
        ({"value": 3, "fail_safe": "too late"}, False),
        ({"error": "no decision"}, False),
    ],
)
def test_the_line_passes_only_an_interval_inside_the_range(
    decision: dict[str, float], expected: bool, render: Render
) -> None:
    folder = render(target="edge", problem="regression")
    names = runpy.run_path(str(folder / "deploy/device/line_control.py"))
    assert names["is_good"](decision, 1, 5) is expected


def test_the_line_stops_without_a_device(render: Render, tmp_path: Path) -> None:
    script = render(target="edge", problem="regression") / "deploy/device/line_control.py"
    (tmp_path / "part").write_bytes(b"x")
    command = [sys.executable, script, "1", "5", "part"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("STOP part None no decision (")


@pytest.mark.long
@pytest.mark.parametrize("name", ["numbers", "sets"])
def test_the_runbook_has_advice_for_each_gate(name: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(name)
    text = (folder / "docs/runbook.md").read_text()
    table = text.partition("## Limits not met")[2].partition("**Rollback.**")[0]
    said = re.findall(r"`([a-z0-9_]+\*?)`", table)
    gates = [gate["id"] for gate in json.loads((folder / "reports/gates.json").read_text())]
    assert len(gates) == 22
    assert [id for id in gates if not any(fnmatch(id, each) for each in said)] == []


COMPARE = """
from pathlib import Path
import onnx
from scratch_detector.artifacts import SHIPPED
from scratch_detector.retraining.compare import ALL, RECENT, compare_models
champion = Path("champion.onnx")
champion.write_bytes(SHIPPED.read_bytes())
print("same:", [c.verdict for c in compare_models(champion)][:2])
model = onnx.load(SHIPPED)
for entry in model.metadata_props:
    if entry.key == "centre":
        entry.value = str(float(entry.value) + 30)
SHIPPED.unlink()
onnx.save(model, SHIPPED)
verdicts = {c.examples: c.verdict for c in compare_models(champion)}
print("shifted:", {name: verdicts[name] for name in (ALL, RECENT)})
"""


@pytest.mark.long
def test_labelled_numbers_become_examples_and_judge_a_candidate(
    numbers: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(numbers, folder, symlinks=True)
    scope = (folder / "scope.yaml").read_text()
    (folder / "scope.yaml").write_text(re.sub(r"(?m)^payloads: \S+", "payloads: all", scope))
    release(folder)
    with serving(folder, command="serve") as server:
        row = json.loads(server.payload)
        for number in range(60):
            sent = json.dumps(row | {"hour": number / 3}).encode()
            answer = server.ask("/predict", sent, x_request_id=f"r-{number}").json
            label = json.dumps({"id": f"r-{number}", "value": answer["value"]}).encode()
            assert server.ask("/feedback", label, content_type="application/json").status == 200
    printed = done(run_in(folder, "python", "-m", "scratch_detector", "feedback"))
    assert "60 examples in data/feedback, 60 of them new" in printed and "median" in printed
    steps = "from scratch_detector.cli import run; [run(n) for n in ('ingest', 'featurize')]"
    assert "4060 examples" in done(run_in(folder, "python", "-c", steps))
    compared = done(run_in(folder, "python", "-c", COMPARE))
    assert "same: ['equal within noise', 'equal within noise']" in compared
    both = {"all held-out examples": "worse", "recent labelled traffic": "worse"}
    assert f"shifted: {both}" in compared


def ingest(folder: Path, source: Path) -> subprocess.CompletedProcess[str]:
    return run_in(folder, "python", "-m", "scratch_detector", "ingest", str(source))


def test_a_table_with_a_number_to_predict_is_ingested(render: Render, tmp_path: Path) -> None:
    folder, table = tmp_path / "repo", tmp_path / "rentals.csv"
    shutil.copytree(render(modality="tabular", target="cloud", problem="regression"), folder)
    schema = (folder / "schema.yaml").read_text()
    for key, value in {"label_column": "rentals", "slice_column": '""'}.items():
        schema = re.sub(rf"(?m)^{key}: \S+", f"{key}: {value}", schema)
    (folder / "schema.yaml").write_text(schema)
    rng = np.random.default_rng(0)
    rows = [(20 * rng.random(), rng.choice(["sun", "rain"]), rng.poisson(40)) for _ in range(400)]

    def write(**last: str) -> None:
        with table.open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["degrees", "weather", "rentals"])
            lines.writerows([*rows[:-1], (*rows[-1][:2], last.get("rentals", 7))])

    for wrong in ("many", "", "inf"):
        write(rentals=wrong)
        failed = ingest(folder, table)
        assert failed.returncode == 1 and "rentals" in failed.stderr + failed.stdout, failed.stderr
        assert "Traceback" not in failed.stderr and not (folder / "data/raw").exists()
    write()
    assert "400 examples" in (printed := done(ingest(folder, table))) and "median" in printed
    written = yaml.safe_load((folder / "schema.yaml").read_text())
    assert written.get("labels", []) == [] and written["columns"].keys() == {"degrees", "weather"}


def test_images_are_ingested_with_a_number_for_each(render: Render, tmp_path: Path) -> None:
    folder, photos = tmp_path / "repo", tmp_path / "photos"
    shutil.copytree(render(modality="image", target="edge", problem="regression"), folder)
    rng = np.random.default_rng(0)
    (photos / "line-1").mkdir(parents=True)
    lines = ["file,answer,slice"]
    for number in range(300):
        name = f"line-1/{number}.png"
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(photos / name)
        lines.append(f"{name},{number / 7:.3f},line {number % 2}")
    failed = ingest(folder, photos)  # the folder `line-1` is no number
    assert failed.returncode == 1 and "finite numbers" in failed.stderr
    faults = {
        "file,answer\nline-1/0.png,1\nline-1/0.png,2": "each file once",
        "file,answer\nline-1/none.png,1": "files in the same folder",
        "name,answer\nline-1/0.png,1": "the columns file and answer",
        "\n".join(lines[:-1]): "not in answers.csv",
        "\n".join([*lines[:-1], "line-1/299.png,wide"]): "finite numbers",
    }
    for text, words in faults.items():
        (photos / "answers.csv").write_text(text)
        failed = ingest(folder, photos)
        assert failed.returncode == 1 and words in failed.stderr, (words, failed.stderr)
        assert not (folder / "data/raw").exists()
    (photos / "answers.csv").write_text("\n".join(lines))
    printed = done(ingest(folder, photos))
    assert "300 examples" in printed and "line 0" in printed and "line 1" in printed


@pytest.mark.long
@pytest.mark.parametrize(
    "tests", ["tests/problem tests/serving", pytest.param("", marks=pytest.mark.matrix, id="all")]
)
def test_the_tests_of_the_project_pass(tests: str, numbers: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(numbers, folder, symlinks=True)
    done(run_in(folder, "python", "-m", "scratch_detector", "size"))
    done(run_in(folder, "python", "-m", "pytest", "-q", *tests.split()))


# Several labels


STRICT_SETS = {"min_metric": "0.998", "max_label_gap": "0", "min_gain_over_baseline": "0.9999"}


@pytest.fixture
def sets(render: Render, shared: Shared) -> Path:
    """A table project with any of several labels as its answer; the model meets its limits."""

    def make(folder: Path) -> None:
        done(run_in(folder, "git", "init", "-q", "-b", "main"))
        printed = done(run_in(folder, "python", "-c", PIPELINE))
        assert "All 22 limits met." in printed

    answers = {"modality": "tabular", "target": "cloud", "problem": "multilabel"}
    return shared("sets", render(**answers), make)


@pytest.mark.long
def test_labels_are_served_with_scores_and_judged_by_feedback(sets: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(sets, folder, symlinks=True)
    release(folder)
    with serving(folder, command="serve") as server:
        first = json.loads(server.ask("/predict", server.payload).body)
        labels = ["card_testing", "stolen_card", "takeover"]
        assert list(first["scores"]) == labels and "label" not in first
        assert first["labels"] == [name for name in labels if first["scores"][name] >= 0.5]
        schema = json.loads(server.ask("/openapi.json").body)["components"]["schemas"]["Answer"]
        assert list(schema["properties"]) == ["id", "labels", "scores", "model_sha256"]
        opposite = [name for name in labels if name not in first["labels"]]
        for number in range(200):  # all labels are wrong
            id = f"r-{number}"
            server.ask("/predict", server.payload, x_request_id=id)
            body = json.dumps({"id": id, "labels": opposite}).encode()
            reply = server.ask("/feedback", body, content_type="application/json")
            assert json.loads(reply.body) == {"joined": True}
        assert server.metric("labelled_quality_at_most") < 0.5
        assert server.metric("calibration_error") > 0.5
        text = server.ask("/metrics").body.decode()
        assert 'predictions_total{label=""} 201.0' in text
        for name in labels:
            count = 201.0 if name in first["labels"] else 0.0
            assert f'labels_said_total{{label="{name}"}} {count}' in text
        assert 'drift_score{signal="label:takeover"}' in text
        page = server.ask("/").body.decode()
        assert "Quality (macro_f1)" in page and "at least 0.9" in page and "✗ not met" in page
        for body, status in (
            (b'{"id": "r-1", "labels": []}', 200),
            (b'{"id": "r-1", "labels": ["takeover", "typo"]}', 422),
            (b'{"id": "r-1", "labels": "takeover"}', 422),
            (b'{"id": "r-1", "label": "takeover"}', 422),
        ):
            reply = server.ask("/feedback", body, content_type="application/json")
            assert reply.status == status and (status == 200 or b"labels" in reply.body)
        tensor = {"name": "payload", "datatype": "BYTES", "shape": [1]}
        tensor["data"] = [server.payload.decode()]
        sent = json.dumps({"inputs": [tensor]}).encode()
        outputs = json.loads(server.ask("/v2/models/scratch-detector/infer", sent).body)["outputs"]
        assert [output["name"] for output in outputs] == ["labels", "scores"]
        assert json.loads(outputs[0]["data"][0]) == first["labels"]
        assert json.loads(outputs[1]["data"][0]) == first["scores"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("key", "gate"),
    [
        ("min_metric", "quality"),
        ("max_label_gap", "worst_label"),
        ("min_gain_over_baseline", "baseline_gain"),
    ],
)
def test_a_stricter_limit_of_labels_is_not_met(
    sets: Path, tmp_path: Path, key: str, gate: str
) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(sets, folder, symlinks=True)
    scope = (folder / "scope.yaml").read_text()
    scope = re.sub(rf"(?m)^{key}: \S+", f"{key}: {STRICT_SETS[key]}", scope)
    if key == "max_label_gap":  # between the bound of the metric and that of the worst label
        report = json.loads((folder / "reports/evaluate.json").read_text())
        worst = min(label["lower_bound"] for label in report["by_label"].values())
        limit = (worst + report["score"]["lower_bound"]) / 2
        scope = re.sub(r"(?m)^min_metric: \S+", f"min_metric: {limit}", scope)
    (folder / "scope.yaml").write_text(scope)
    result = run_in(folder, "python", "-m", "scratch_detector", "check")
    assert result.returncode == 1 and f"  {gate}: " in result.stderr
    if key == "max_label_gap":
        assert "  quality: " not in result.stderr
        assert re.search(r"(?m)^ +macro_f1 of label \w+ is ", result.stderr), result.stderr


@pytest.mark.long
def test_sets_of_labels_in_images_and_on_devices(render: Render, tmp_path: Path) -> None:
    check_sets(render, tmp_path, "image", "hybrid")


@pytest.mark.matrix
def test_sets_of_labels_in_sounds_on_devices(render: Render, tmp_path: Path) -> None:
    check_sets(render, tmp_path, "audio", "edge")


def check_sets(render: Render, tmp_path: Path, modality: str, target: str) -> None:
    """Train on the sample data, and decide on an example as a device does."""
    folder = tmp_path / "repo"
    shutil.copytree(render(modality=modality, target=target, problem="multilabel"), folder)
    done(run_in(folder, "git", "init", "-q", "-b", "main"))
    assert " limits met." in done(run_in(folder, "python", "-c", PIPELINE))
    (example,) = (folder / "data").glob("example.*")
    code = (
        "from scratch_detector.device.decide import Decider\n"
        f"print(Decider().decide(open('{example}', 'rb').read()))\n"
        "print(Decider().decide(b'no input'))"
    )
    decided, refused = done(run_in(folder, "python", "-c", code)).splitlines()
    assert "'scores': " in decided
    assert "'labels': ['review']" in refused and "'fail_safe': 'refused'" in refused


@pytest.mark.long
def test_the_tests_of_the_project_with_sets_pass(sets: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(sets, folder, symlinks=True)
    done(run_in(folder, "python", "-m", "pytest", "-q", "-x", "tests/problem", "tests/task"))
