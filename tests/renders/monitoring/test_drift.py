"""The drift window of real processes, also with releases of older versions."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from repository import done, run_in
from server import command, serving, with_latency_limit

# Turn the model and the reference into those of 0.2: logits only, no count of missing values.
DOWNGRADE = """
import json
from pathlib import Path
import onnx
from scratch_detector.artifacts import REFERENCE, SHIPPED
model = onnx.load(SHIPPED)
del model.graph.output[1:]
onnx.save(model, SHIPPED)
known = json.loads(REFERENCE.read_text())
signals = {n: s for n, s in known["signals"].items() if not n.startswith(("emb", "entropy"))}
for signal in signals.values():
    del signal["shares"][-1], signal["cut_threshold"]
REFERENCE.write_text(json.dumps({"window": known["window"], "signals": signals}))
"""
# Print the drift scores of one window of held-out examples.
SCORE_HELD_OUT = """
import json, math
from scratch_detector.artifacts import RAW
from scratch_detector.examples import read_shards, split_of
from scratch_detector.monitoring.live import Monitor
from scratch_detector.predictor import Predictor
predictor = Predictor()
monitor = Monitor(predictor)
payloads = [e.payload for e in read_shards(RAW) if split_of(e.id) == "test"]
for payload in payloads[: monitor.window.reference.window]:
    monitor.observe(predictor.predict(payload))
scores = {name: monitor.window.score(name) for name in monitor.window.reference.signals}
print(json.dumps([scores, math.isfinite(monitor.estimated_accuracy())]))
"""
# Print the exported signals after a switch to an old model, as after a rollback.
SHOW_BOTH = f"""
from scratch_detector.monitoring.live import DRIFT, Monitor
from scratch_detector.predictor import Predictor
Monitor(Predictor()).show()
{DOWNGRADE}
Monitor(Predictor()).show()
print(*(sample.labels["signal"] for family in DRIFT.collect() for sample in family.samples))
"""
INSIDE = {*(f"embedding_{i}" for i in range(6)), "embedding_norm"}


@pytest.fixture
def project(modelled: Path, tmp_path: Path) -> Path:
    shutil.copytree(modelled, tmp_path / "repo", symlinks=True)
    command(tmp_path / "repo", "example")
    return tmp_path / "repo"


def scores(metrics: str) -> dict[str, float]:
    samples = re.findall(r'^drift_score\{signal="(\w+)"\} (\S+)$', metrics, re.MULTILINE)
    return {name: float(value) for name, value in samples}


def test_counts_parallel_requests_exactly_once(project: Path) -> None:
    clients, each = 8, 30
    with (
        serving(project, with_latency_limit(5000)) as server,  # no request is rejected as late
        ThreadPoolExecutor(clients) as pool,
    ):
        statuses = list(pool.map(lambda _: server.ask().status, range(clients * each)))
        assert statuses == [200] * clients * each
        assert 250 * server.metric("drift_window_fill_ratio") == pytest.approx(clients * each)
        assert server.metric("estimated_accuracy") != server.metric("estimated_accuracy")  # NaN
        for _ in range(20):
            server.ask()
        metrics = server.ask("/metrics").body.decode()
    assert scores(metrics).keys() >= {"label", "confidence", "entropy", "amount_usd"} | INSIDE
    assert min(scores(metrics).values()) >= 0
    assert re.search(r"(?m)^drift_window_fill_ratio 1\.0$", metrics)
    assert re.search(r"(?m)^estimated_accuracy (0|1)\.0$", metrics)  # the same payload each time


def test_a_release_without_embedding_is_served_and_monitored(project: Path) -> None:
    new, estimated = json.loads(done(run_in(project, "python", "-c", SCORE_HELD_OUT)))
    assert new.keys() >= INSIDE and estimated
    exported = done(run_in(project, "python", "-c", SHOW_BOTH)).split()
    old, estimated = json.loads(done(run_in(project, "python", "-c", SCORE_HELD_OUT)))
    assert old.keys() == new.keys() - INSIDE - {"entropy"} and not estimated
    assert set(exported) == old.keys(), "signals of the previous model would stay constant"
    assert all(0 <= score < 1 for score in (new | old).values())
    with serving(project) as server:
        assert server.ask().status == 200
        assert scores(server.ask("/metrics").body.decode()).keys() == old.keys()
