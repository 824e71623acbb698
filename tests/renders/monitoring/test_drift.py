"""The live windows of real processes, and the releases that were made before them."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from repository import done, run_in
from server import command, promising, serving

# What 0.2 wrote: a file that shows nothing but logits, and a reference without missing values.
OLDER = """
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
# One window of held-out examples by a model that is there.
WATCHED = """
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
# What a process shows after a switch to such a model, as after a rollback.
SWITCHED = f"""
from scratch_detector.monitoring.live import DRIFT, Monitor
from scratch_detector.predictor import Predictor
Monitor(Predictor()).show()
{OLDER}
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
    found = re.findall(r'^drift_score\{signal="(\w+)"\} (\S+)$', metrics, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_requests_in_parallel_are_all_counted_exactly_once(project: Path) -> None:
    clients, each = 8, 30
    with (
        serving(project, promising(5000)) as server,  # none of them is too late
        ThreadPoolExecutor(clients) as pool,
    ):
        answers = list(pool.map(lambda _: server.ask().status, range(clients * each)))
        assert answers == [200] * clients * each
        assert 250 * server.metric("drift_window_fill_ratio") == pytest.approx(clients * each)
        assert server.metric("estimated_accuracy") != server.metric("estimated_accuracy")  # NaN
        for _ in range(20):
            server.ask()
        metrics = server.ask("/metrics").body.decode()
    assert scores(metrics).keys() >= {"label", "confidence", "entropy", "amount_usd"} | INSIDE
    assert min(scores(metrics).values()) >= 0
    assert re.search(r"(?m)^drift_window_fill_ratio 1\.0$", metrics)
    assert re.search(r"(?m)^estimated_accuracy (0|1)\.0$", metrics)  # one payload, again and again


def test_a_release_from_before_the_embedding_answers_and_is_watched(project: Path) -> None:
    new, estimated = json.loads(done(run_in(project, "python", "-c", WATCHED)))
    assert new.keys() >= INSIDE and estimated
    shown = done(run_in(project, "python", "-c", SWITCHED)).split()
    old, estimated = json.loads(done(run_in(project, "python", "-c", WATCHED)))
    assert old.keys() == new.keys() - INSIDE - {"entropy"} and not estimated
    assert set(shown) == old.keys(), "what the model before showed would never change again"
    assert all(0 <= score < 1 for score in (new | old).values())
    with serving(project) as server:
        assert server.ask().status == 200
        assert scores(server.ask("/metrics").body.decode()).keys() == old.keys()
