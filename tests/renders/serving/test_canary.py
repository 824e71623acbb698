"""A challenger under real traffic: it advances step by step, or the rule it breaks halts it."""

import hashlib
import json
import math
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from zlib import crc32

import pytest

from repository import run_in
from server import (
    Server,
    command,
    release,
    roll_out,
    serving,
    set_challenger_limit,
    with_latency_limit,
)

# By default, a step takes thousands of requests.
SHORT_STEPS = {"canary__MIN_COMPARISONS": 20, "canary__COMPARED_SHARE": 0.5}
RULE_BROKEN_BY = {
    "nan": "errors",
    "slower": "slowdown",
    "turned": "disagreement",
    "unsure": "shift",
}
# Sign a model that this runtime cannot load.
ELSEWHERE = """
from types import SimpleNamespace
from scratch_detector.releases import release
release.Predictor = lambda: SimpleNamespace(trained_at=0.0)
"""


@pytest.fixture
def project(modelled: Path, tmp_path: Path) -> Path:
    """A project with a champion."""
    folder = tmp_path / "repo"
    shutil.copytree(modelled, folder, symlinks=True)
    command(folder, "example")
    release(folder)
    return folder


@contextmanager
def traffic(server: Server) -> Iterator[Counter[tuple[int, str]]]:
    """Send requests from four clients; yield the count of each status and model."""
    replies: Counter[tuple[int, str]] = Counter()
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            reply = server.ask()
            replies[reply.status, reply.json["model_sha256"]] += 1

    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    try:
        yield replies
    finally:
        stop.set()
        for thread in clients:
            thread.join()


def until(met: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def halts(server: Server) -> dict[str, float]:
    rules = ("errors", "latency", "slowdown", "disagreement", "shift", "quality")
    counts = {rule: server.metric(f'challenger_halts_total{{rule="{rule}"}}') for rule in rules}
    return {rule: count for rule, count in counts.items() if count}


def test_a_good_challenger_advances_and_becomes_champion(project: Path, tmp_path: Path) -> None:
    good = release(project, "again")
    settings = with_latency_limit(5000, **SHORT_STEPS)
    with serving(project, settings, command="serve", log=tmp_path / "log") as server:
        command(project, "challenge", good)
        env = {"SCRATCH_DETECTOR_METRICS_URL": f"http://127.0.0.1:{server.port}/metrics"}
        until(lambda: server.challenger_share(good) == 0.01)
        early = run_in(project, "python", "-m", "scratch_detector", "promote", **env)
        assert early.returncode and f"{good} serves 1% of the requests" in early.stderr
        with traffic(server) as replies:
            until(lambda: server.challenger_share(good) == 1)
            page = server.ask("/").body.decode()
            assert good in page and "serves 100% of the requests" in page
            command(project, "promote", **env)
            until(lambda: server.ask("/readyz").json["release"] == good)
        assert {status for status, _ in replies} == {200} and len(replies) == 2
        assert not halts(server) and server.metric('switches_total{outcome="done"}') == 1
        assert "No challenger running" in server.ask("/").body.decode()
    steps = [f'"share": {step}' for step in (0.05, 0.25, 1.0)]
    log = (tmp_path / "log").read_text()
    assert [log.count(step) for step in steps] == [1, 1, 1]


@pytest.mark.parametrize("fault", RULE_BROKEN_BY)
def test_a_bad_challenger_is_halted_at_one_percent(
    fault: str, project: Path, tmp_path: Path
) -> None:
    bad, settings = release(project, fault), with_latency_limit(5000, **SHORT_STEPS)
    with serving(project, settings, command="serve", log=tmp_path / "log") as server:
        (champion,) = {server.ask().json["model_sha256"] for _ in range(3)}
        command(project, "challenge", bad)
        until(lambda: server.challenger_share(bad) == 0.01)
        with traffic(server) as replies:
            until(lambda: halts(server))
            asked = sum(replies.values())
        assert halts(server) == {RULE_BROKEN_BY[fault]: 1} and server.challenger_share(bad) == 0
        assert f"halted by the rule for {RULE_BROKEN_BY[fault]}" in server.ask("/").body.decode()
        assert {status for status, _ in replies} == {200}, "clients see no errors"
        assert replies[200, champion] >= 0.9 * asked
        assert {server.ask().json["model_sha256"] for _ in range(300)} == {champion}
        env = {"SCRATCH_DETECTOR_METRICS_URL": f"http://127.0.0.1:{server.port}/metrics"}
        result = run_in(project, "python", "-m", "scratch_detector", "promote", **env)
        assert result.returncode and f"{bad} serves 0% of the requests" in result.stderr
    assert "challenger advanced" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("fault", "loose"),
    [
        ("nan", {"max_errors": 1}),
        ("slower", {"max_slowdown": 1e6}),
        ("turned", {"max_disagreement": 1, "max_shift": 1}),
        ("unsure", {"max_shift": 1}),
    ],
)
def test_each_canary_limit_of_the_scope_is_used(
    fault: str, loose: dict[str, float], project: Path
) -> None:
    bad = release(project, fault)
    for key, value in loose.items():
        set_challenger_limit(project, key, value)
    with serving(project, with_latency_limit(5000, **SHORT_STEPS), command="serve") as server:
        command(project, "challenge", bad)
        with traffic(server):
            until(lambda: server.challenger_share(bad) == 1)
        assert not halts(server)


def test_a_challenger_above_the_latency_limit_is_halted(project: Path) -> None:
    slow = release(project, "slow")
    set_challenger_limit(project, "max_slowdown", 1e6)
    rules = {"canary__MIN_COMPARISONS": 20, "canary__COMPARED_SHARE": 0, "canary__STEPS": "(1.0,)"}
    with serving(project, with_latency_limit(1, **rules), command="serve") as server:
        command(project, "challenge", slow)
        until(lambda: server.challenger_share(slow) == 1)
        patience = {"x_timeout_ms": "5000"}
        until(lambda: server.ask(**patience).status == 200 and halts(server))
        assert halts(server) == {"latency": 1}


def position(release: Path, id: str) -> float:
    """Return the place of a request among all, which only who has the release can compute."""
    key = hashlib.sha256((release / "manifest.dsse").read_bytes()).digest()
    digest = hashlib.blake2b(id.encode(), key=key, digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32


@pytest.mark.parametrize("right", [True, False])
def test_a_challenger_with_wrong_predictions_is_halted(right: bool, project: Path) -> None:
    """Only labels for predictions of the challenger count: here 200 of them."""
    good = release(project, "again")
    labels = json.loads((project / "reports/ingest.json").read_text())["labels"]
    folder = project / "releases" / good
    of_challenger = (f"r-{i}" for i in range(10**6) if position(folder, f"r-{i}") < 0.01)
    rules = {"canary__COMPARED_SHARE": 0}
    with serving(project, with_latency_limit(5000, **rules), command="serve") as server:
        champion = server.ask().json["model_sha256"]
        command(project, "challenge", good)
        until(lambda: server.challenger_share(good) == 0.01)
        for id in islice(of_challenger, 200):
            prediction = server.ask(x_request_id=id).json
            if halts(server):
                break
            assert prediction["model_sha256"] != champion
            label = next(name for name in labels if (name == prediction["label"]) == right)
            body = json.dumps({"id": id, "label": label}).encode()
            assert server.ask("/feedback", body).json == {"joined": True}
        assert halts(server) == ({} if right else {"quality": 1})
        assert (prediction["model_sha256"] != champion) == right
        assert math.isnan(server.metric("labelled_quality")), "the quality of the champion"


def test_the_champion_serves_requests_that_the_challenger_fails(project: Path) -> None:
    bad = release(project, "nan")
    rules = {"canary__MIN_COMPARISONS": 100, "canary__COMPARED_SHARE": 0, "canary__STEPS": "(1.0,)"}
    with serving(project, with_latency_limit(5000, **rules), command="serve") as server:
        champion = server.ask().json["model_sha256"]
        command(project, "challenge", bad)
        until(lambda: server.challenger_share(bad) == 1)
        for wrong in range(2):
            reply = server.ask()
            assert (reply.status, reply.json["model_sha256"]) == (200, champion)
            assert halts(server) == ({"errors": 1} if wrong else {}), "one of 100 is allowed"
        assert server.metric('refusals_total{status="500"}') == 0


def test_requests_with_the_same_id_go_to_the_same_model(project: Path) -> None:
    good = release(project, "again")
    ids = [f"client-{number}" for number in range(400)]
    chosen = {id for id in ids if position(project / "releases" / good, id) < 0.05}
    steered = {id for id in ids if crc32(id.encode()) < 0.05 * 2**32}
    assert chosen != steered, "clients can compute it"
    rules = {"canary__COMPARED_SHARE": 0, "canary__STEPS": "(0.05,)"}
    with serving(project, with_latency_limit(5000, **rules), command="serve") as server:
        champion = server.ask().json["model_sha256"]
        command(project, "challenge", good)
        until(lambda: server.challenger_share(good))
        for _ in range(2):
            models = {id: server.ask(x_request_id=id).json["model_sha256"] for id in ids}
            assert {id for id in ids if models[id] != champion} == chosen
    assert 5 < len(chosen) < 40


def test_rejects_a_challenger_that_cannot_be_loaded(project: Path) -> None:
    bad = release(project, "newer-opset", ELSEWHERE)
    with serving(project, with_latency_limit(5000), command="serve") as server:
        champion = server.ask("/readyz").json["release"]
        command(project, "challenge", bad)
        until(lambda: server.metric('switches_total{outcome="refused"}') == 1)
        assert server.ask("/readyz").json["release"] == champion and server.ask().status == 200
        assert server.challenger_share(bad) == 0
        roll_out(project, champion=bad, previous=champion)
        until(lambda: server.metric('switches_total{outcome="refused"}') == 2)
        assert server.ask("/readyz").json["release"] == champion and server.ask().status == 200
