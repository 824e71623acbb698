"""The load test with real processes: each of its gates can fail."""

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
    """A project with a model and a latency limit that any machine can meet."""
    monkeypatch.delenv("SCRATCH_DETECTOR_LOAD_URL", raising=False)
    shutil.copytree(modelled, tmp_path / "repo", symlinks=True)
    set_limits(tmp_path / "repo", max_latency_p95_ms=5000)
    return tmp_path / "repo"


def set_limits(folder: Path, **limits: float) -> None:
    text = (folder / "scope.yaml").read_text()
    for key, value in limits.items():
        text, count = re.subn(rf"^{key}: \S+", f"{key}: {value}", text, flags=re.MULTILINE)
        assert count == 1, key
    (folder / "scope.yaml").write_text(text)


def plant(folder: Path, kind: str) -> None:
    model, script = "models/shipped.onnx", ROOT / "tests/support/inside/fabricate.py"
    done(run_in(folder, "python", str(script), kind, model, model))


def run_load_test(folder: Path) -> CompletedProcess[str]:
    return run_in(folder, "python", "-c", SHORT)


def failed_gates(result: CompletedProcess[str]) -> dict[str, str]:
    """Return the gates that failed, and where the limit of each is set."""
    message = result.stderr.partition("Limits not met")[2]
    assert result.returncode == 1 and message and "Traceback" not in message, result.stderr[-2000:]
    return dict(re.findall(r"^  (\w+): .* \((.*)\)$", message, re.MULTILINE))


def verdicts(result: CompletedProcess[str]) -> list[str]:
    return re.findall(r"^(pass|FAIL)  ", result.stdout, re.MULTILINE)


def test_a_good_model_passes_and_writes_a_report(project: Path) -> None:
    result = run_load_test(project)
    assert result.returncode == 0, result.stdout + result.stderr
    assert verdicts(result) == ["pass"] * len(GATES)
    load, evaluate = (
        json.loads((project / f"reports/{name}.json").read_text()) for name in ("load", "evaluate")
    )
    assert load["model"]["model_sha256"] == evaluate["model_sha256"]
    assert (load["availability"], load["requests"]) == (1, 2 * load["requests_per_s"])
    assert load["throughput_per_s"] > 0 < load["latency_p95_ms"]


def test_a_slow_model_fails_the_latency_gate(project: Path) -> None:
    plant(project, "slow")  # slower than the limit on every machine
    set_limits(project, max_latency_p95_ms=2)
    assert (
        failed_gates(run_load_test(project))["load_latency_p95"] == "scope.yaml: max_latency_p95_ms"
    )


def test_a_failing_model_fails_the_availability_gate(project: Path) -> None:
    plant(project, "nan")
    result = run_load_test(project)
    assert failed_gates(result)["load_availability"] == "scope.yaml: min_availability"
    assert verdicts(result) == ["FAIL"] * len(GATES), "without predictions, every gate fails"


def test_too_much_traffic_fails_the_cost_gate(project: Path) -> None:
    set_limits(project, peak_requests_per_s=1e6)
    assert failed_gates(run_load_test(project))["load_cost"] == "scope.yaml: max_cost_usd_month"


def test_a_server_slower_than_planned_fails_the_throughput_gate(project: Path) -> None:
    path = project / "reports/benchmark.json"
    path.write_text(json.dumps({"server": {"throughput_per_s": 1e7}}))
    set_limits(project, peak_requests_per_s=1e6)
    assert (
        failed_gates(run_load_test(project))["load_throughput"] == "scope.yaml: peak_requests_per_s"
    )


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}", "127.0.0.1:{port}", "no address"])
def test_an_address_without_a_server_is_one_sentence(
    address: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = address.format(port=free.getsockname()[1])
        monkeypatch.setenv("SCRATCH_DETECTOR_LOAD_URL", url)
        result = run_load_test(project)
    assert result.returncode == 1
    assert re.fullmatch(rf"No server is ready at {url}\. Start one .*\.\n", result.stderr)
    assert not (project / "reports/load.json").exists()


def test_loads_a_running_server_with_its_api_key(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done(run_in(project, "python", "-m", "scratch_detector", "example"))
    with serving(project, log=tmp_path / "log", SCRATCH_DETECTOR_API_KEYS="a-key") as server:
        url = f"http://127.0.0.1:{server.port}"
        monkeypatch.setenv("SCRATCH_DETECTOR_LOAD_URL", url)
        assert "load_availability" in failed_gates(run_load_test(project))
        monkeypatch.setenv("SCRATCH_DETECTOR_LOAD_KEY", "a-key")
        assert run_load_test(project).returncode == 0
        assert json.loads((project / "reports/load.json").read_text())["url"] == url
    stopped = run_in(project, "make", "load", f"URL={url}")
    assert stopped.returncode == 2 and f"No server is ready at {url}." in stopped.stderr
