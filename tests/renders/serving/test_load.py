"""`make load` of a render: real processes, and each of its gates seen red on a planted fault."""

import json
import re
import shutil
import socket
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from conftest import ROOT
from repository import done, run_in
from server import serving

GATES = ["load_latency_p95", "load_availability", "load_throughput", "load_cost"]
SHORT = """
from scratch_detector import cli
from scratch_detector.serving import load_test
load_test.OPEN_S, load_test.CLOSED_S, load_test.MAX_REQUESTS = 2, 1, 500
cli.run("load")
"""


@pytest.fixture
def project(modelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a model that was judged, which promises what any machine can keep."""
    monkeypatch.delenv("SCRATCH_DETECTOR_LOAD_URL", raising=False)
    shutil.copytree(modelled, tmp_path / "repo", symlinks=True)
    promise(tmp_path / "repo", max_latency_p95_ms=5000)
    return tmp_path / "repo"


def promise(folder: Path, **promises: float) -> None:
    text = (folder / "scope.yaml").read_text()
    for key, value in promises.items():
        text, found = re.subn(rf"^{key}: \S+", f"{key}: {value}", text, flags=re.MULTILINE)
        assert found == 1, key
    (folder / "scope.yaml").write_text(text)


def plant(folder: Path, kind: str) -> None:
    model, script = "models/shipped.onnx", ROOT / "tests/support/inside/fabricate.py"
    done(run_in(folder, "python", str(script), kind, model, model))


def loaded(folder: Path) -> CompletedProcess[str]:
    return run_in(folder, "python", "-c", SHORT)


def broken(result: CompletedProcess[str]) -> dict[str, str]:
    """Return the gates that refused, and where each says that its limit is."""
    words = result.stderr.partition("Limits not met")[2]
    assert result.returncode == 1 and words and "Traceback" not in words, result.stderr[-2000:]
    return dict(re.findall(r"^  (\w+): .* \((.*)\)$", words, re.MULTILINE))


def verdicts(result: CompletedProcess[str]) -> list[str]:
    return re.findall(r"^(pass|FAIL)  ", result.stdout, re.MULTILINE)


def test_an_honest_model_is_green_and_leaves_evidence(project: Path) -> None:
    result = loaded(project)
    assert result.returncode == 0, result.stdout + result.stderr
    assert verdicts(result) == ["pass"] * len(GATES)
    found, judged = (
        json.loads((project / f"reports/{name}.json").read_text()) for name in ("load", "evaluate")
    )
    assert found["model"]["model_sha256"] == judged["model_sha256"]
    assert (found["availability"], found["requests"]) == (1, 2 * found["requests_per_s"])
    assert found["throughput_per_s"] > 0 < found["latency_p95_ms"]


def test_a_slow_model_is_refused_for_its_latency(project: Path) -> None:
    plant(project, "slow")  # by more than this on every machine, without any traffic
    promise(project, max_latency_p95_ms=2)
    assert broken(loaded(project))["load_latency_p95"] == "scope.yaml: max_latency_p95_ms"


def test_a_model_without_answers_is_refused_for_its_availability(project: Path) -> None:
    plant(project, "nan")
    result = loaded(project)
    assert broken(result)["load_availability"] == "scope.yaml: min_availability"
    assert verdicts(result) == ["FAIL"] * len(GATES), "nothing is fast, or cheap, without answers"


def test_traffic_that_nobody_can_pay_is_refused_for_its_cost(project: Path) -> None:
    promise(project, peak_requests_per_s=1e6)
    assert broken(loaded(project))["load_cost"] == "scope.yaml: max_cost_usd_month"


def test_a_server_that_is_less_than_planned_is_refused_for_its_throughput(project: Path) -> None:
    path = project / "reports/benchmark.json"
    path.write_text(json.dumps({"server": {"throughput_per_s": 1e7}}))
    promise(project, peak_requests_per_s=1e6)
    assert broken(loaded(project))["load_throughput"] == "scope.yaml: peak_requests_per_s"


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}", "127.0.0.1:{port}", "no address"])
def test_where_no_server_is_there_is_one_sentence(
    address: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = address.format(port=free.getsockname()[1])
        monkeypatch.setenv("SCRATCH_DETECTOR_LOAD_URL", url)
        result = loaded(project)
    assert result.returncode == 1
    assert re.fullmatch(rf"No server is ready at {url}\. Start one .*\.\n", result.stderr)
    assert not (project / "reports/load.json").exists()


def test_make_asks_a_server_that_runs_with_its_key(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done(run_in(project, "python", "-m", "scratch_detector", "example"))
    with serving(project, log=tmp_path / "log", SCRATCH_DETECTOR_API_KEYS="a-key") as server:
        url = f"http://127.0.0.1:{server.port}"
        monkeypatch.setenv("SCRATCH_DETECTOR_LOAD_URL", url)
        assert "load_availability" in broken(loaded(project))
        monkeypatch.setenv("SCRATCH_DETECTOR_LOAD_KEY", "a-key")
        assert loaded(project).returncode == 0
        assert json.loads((project / "reports/load.json").read_text())["url"] == url
    stopped = run_in(project, "make", "load", f"URL={url}")
    assert stopped.returncode == 2 and f"No server is ready at {url}." in stopped.stderr
