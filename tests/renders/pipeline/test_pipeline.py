"""Run renders end to end: from data to an evaluated model, then to a prediction.

`make test` runs one of the nine, for images on server and device; `modelled` in conftest.py covers
tables. `make test-all` runs three, so that each modality and each target is there once: two with
all their own tests, and the device for sounds with those of its modality. `make test-matrix` runs
the others.
"""

import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import NINE, Render
from environment import environment, requirements, variables
from repository import commit_files, done, git, run_in

EVERYDAY = ("image", "hybrid")  # the only target with all code; shared code is tested once
WITH_ALL_TESTS = (EVERYDAY, ("tabular", "cloud"))
LONG = {("audio", "edge"), ("tabular", "cloud")}
MARKS = dict.fromkeys(NINE, pytest.mark.matrix) | dict.fromkeys(LONG, pytest.mark.long)
COMBINATIONS = [
    pytest.param(*pair, marks=[] if pair == EVERYDAY else MARKS[pair], id="-".join(pair))
    for pair in NINE
]
# Tests that read the payloads of the render, in the folders of its modality and its target.
OF_ALL = ["task", "decoding", "pipeline", "test_data.py", "test_deploy.py", "test_layers.py"]
OF_ALL = [f"tests/{name}" for name in OF_ALL]
OF_TARGET = {"cloud": ["tests/serving/test_app.py"], "edge": ["tests/device/test_loop.py"]}
OF_TARGET["hybrid"] = [path for paths in OF_TARGET.values() for path in paths]
SECONDS = 900


def make(folder: Path, target: str, env: dict[str, str]) -> str:
    """Run a make target of the render; it must succeed."""
    result = subprocess.run(
        ["make", target], cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS
    )
    assert result.returncode == 0, f"make {target}\n{result.stdout[-6000:]}{result.stderr[-6000:]}"
    return result.stdout


def deployed_variables(folder: Path, *extras: str) -> dict[str, str]:
    """Return variables of a deployed environment, which has no training libraries."""
    place = environment(requirements(folder, *extras))
    seek = [str(place / "bin" / "python"), "-c", "import torch"]
    assert b"No module named 'torch'" in subprocess.run(seek, capture_output=True).stderr
    return variables(folder, place) | {"PYTHON": str(place / "bin" / "python")}


@contextmanager
def running(folder: Path, name: str, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a long-lived command of the render, and stop it with SIGTERM like a supervisor."""
    process = subprocess.Popen([env["PYTHON"], "-m", "scratch_detector", name], cwd=folder, env=env)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) in (0, -signal.SIGTERM)
    finally:
        process.kill()


def check_server(folder: Path) -> None:
    """Request one prediction from a server process without PyTorch."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = deployed_variables(folder, "serve") | {"SCRATCH_DETECTOR_PORT": str(port)}
    (payload,) = folder.glob("data/example.*")
    kind = {".png": "image/png", ".wav": "audio/wav", ".json": "application/json"}[payload.suffix]
    with running(folder, "serve", env):
        for _ in range(300):
            time.sleep(0.1)
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.request("POST", "/predict", payload.read_bytes(), {"content-type": kind})
                break
            except ConnectionRefusedError:
                continue
        answer = json.loads(connection.getresponse().read())
    assert answer["label"] in json.loads((folder / "reports/evaluate.json").read_text())["labels"]


def check_device(folder: Path) -> None:
    """Make one decision on the device, without PyTorch and, as root, without a network.

    Collector, server and update repository are configured but unreachable.
    """
    env = deployed_variables(folder)
    params = (folder / "params.yaml").read_text()
    assert 'upload_url: ""' in params
    (folder / "params.yaml").write_text(params.replace('_url: ""', "_url: http://x.invalid"))
    (payload,) = folder.glob("data/example.*")
    (folder / "data" / "inbox").mkdir(exist_ok=True)
    shutil.copy(payload, folder / "data" / "inbox" / payload.name)
    python = folder / "offline-python"
    python.write_text(f'#!/bin/sh\nexec unshare -n {env["PYTHON"]} "$@"\n')
    python.chmod(0o755)
    offline = env | {"PYTHON": str(python)} if os.geteuid() == 0 else env
    with running(folder, "edge", offline):
        for _ in range(300):
            time.sleep(0.1)
            printed = subprocess.run(
                [env["PYTHON"], "-m", "scratch_detector", "outbox"],
                cwd=folder,
                env=env,
                capture_output=True,
                text=True,
            ).stdout
            if printed.strip():
                break
    python.unlink()
    decision = json.loads(printed)
    assert decision["file"] == payload.name and 0 < decision["confidence"] <= 1


def hash_files(folder: Path) -> dict[Path, str]:
    """Return the hashes of generated files and of the files of a running server or device."""
    places = ("data", "models", "releases", "keys", "params.yaml", "dvc.lock", "reports")
    paths = [path for place in places for path in (folder / place, *(folder / place).rglob("*"))]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.is_file()}


@pytest.mark.parametrize(("modality", "target"), COMBINATIONS)
def test_untouched_render_runs_end_to_end(
    modality: str, target: str, render: Render, tmp_path: Path
) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(render(modality=modality, target=target), folder)
    env = variables(folder, environment(requirements(folder, "serve", "train", "dev")))
    git(folder, "init", "-q", "-b", "main")
    commit_files(folder)
    has_all_tests = (modality, target) in WITH_ALL_TESTS
    if has_all_tests and modality == "tabular":  # as in CI: a clone has no data and no models
        make(folder, "test", env)
    printed = make(folder, "model", env)
    gates = json.loads((folder / "reports" / "gates.json").read_text())
    assert all(gate["passed"] for gate in gates) and printed.count("pass  ") == len(gates)
    commit_files(folder)
    make(folder, "example", env)
    assert git(folder, "status", "--porcelain") == ""
    assert "Champion: " in make(folder, "release", env)
    if target != "edge":
        check_server(folder)
    if target != "cloud":
        check_device(folder)
    if not has_all_tests:
        paths = [path for path in OF_ALL + OF_TARGET[target] if (folder / path).exists()]
        done(run_in(folder, "python", "-m", "pytest", "-q", *paths))
    elif modality != "tabular":  # tests must not change files in use
        before = hash_files(folder)
        make(folder, "test", env | {"SCRATCH_DETECTOR_API_KEYS": "secret"})
        assert hash_files(folder) == before and any(path.suffix == ".db" for path in before)
