"""The image and the Compose file, built and run by a real Docker engine."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml

from conftest import Render
from containers import Docker, engine, free_port, get, image, size_mb, wait_for
from environment import environment, requirements, variables
from repository import commit_files, damage
from test_pipeline import make

pytestmark = pytest.mark.container
NAME = "container-test"  # of the image, the containers and the network
GRACE_S = 30
DOCKERFILE, PYTHON = "deploy/Dockerfile", re.compile(r"^ARG PYTHON_IMAGE=(.+)$", re.M)
LIST = "import os; print(os.listdir('releases'))"
HARDENED = (
    "--read-only --tmpfs=/tmp --cap-drop=ALL --security-opt=no-new-privileges --memory=512m "
    f"--env={NAME.upper().replace('-', '_')}_ALLOW_ANONYMOUS=true"
)
TRAINING = ("torch", "onnx", "onnxscript", "matplotlib", "pyarrow", "dvc")
PRINT_TRAINING_LIBRARIES = f"""
import importlib.util, os
print(os.getuid(), [name for name in {TRAINING} if importlib.util.find_spec(name)])
"""
# Print the capabilities of process 1, and whether root can write to some folders.
INSPECT = r"""
import json, re
from pathlib import Path
from typing import Any

def error_of_writing(folder):
    try:
        Path(folder, "new").touch()
    except OSError as error:
        return error.strerror

status = Path("/proc/1/status").read_text()
print(json.dumps({
    "rights": [int(bits, 16) for bits in re.findall(r"^Cap\w+:\s+(\w+)$", status, re.M)],
    "can_rise": re.search(r"^NoNewPrivs:\s+0$", status, re.M) is not None,
    "wrong": {
        folder: error_of_writing(folder)
        for folder in ("/", "/app", "/app/releases", "/etc", "/tmp")
    },
}))
"""


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with engine() as docker:
        yield docker


@pytest.fixture(scope="module")
def repo(
    docker: Docker, render: Render, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A render with a signed release, and an image built from it."""
    folder = tmp_path_factory.mktemp("container") / "repo"
    shutil.copytree(render(project_name=NAME, modality="image", target="cloud"), folder)
    commit_files(folder)
    env = variables(folder, environment(requirements(folder, "serve", "train", "dev")))
    for target in ("model", "example", "release"):
        make(folder, target, env)
    subprocess.run(["uv", "lock", "--quiet"], cwd=folder, env=env, check=True)
    dockerfile = folder / DOCKERFILE
    (python,) = PYTHON.findall(dockerfile.read_text())
    with image(docker, python):
        docker("build", "--quiet", "--tag", NAME, "--file", str(dockerfile), str(folder))
        yield folder
        docker("image", "rm", "--force", NAME)


def kill(docker: Docker, container: str) -> None:
    """Kill the server as the kernel does when memory runs out."""
    pid = docker("inspect", "--format={{.State.Pid}}", container)
    code = f"import os; os.kill({pid}, 9)"
    helper = ["--rm", "--pid=host", "--user=0", "--entrypoint=python"]
    docker("run", *helper, NAME, "-c", code)


def champion(repo: Path) -> str:
    """Return the id of the champion."""
    id: str = json.loads((repo / "releases/rollout.json").read_text())["champion"]
    return id


def served_release(site: str) -> str:
    """Return the release id from `/readyz`, once the server is ready."""
    ready = wait_for(lambda: json.loads(get(f"{site}/readyz")))
    assert isinstance(ready, dict)
    return str(ready["release"])


def test_the_image_is_small_and_has_no_training_libraries(docker: Docker, repo: Path) -> None:
    (python,) = PYTHON.findall((repo / DOCKERFILE).read_text())
    total_mb = size_mb(docker, NAME)
    added_mb = total_mb - size_mb(docker, python)
    print(f"{total_mb:.0f} MB, {added_mb:.0f} MB of them on top of {python}")
    assert total_mb < 400 and added_mb < 200
    assert (
        docker("run", "--rm", "--entrypoint=python", NAME, "-c", PRINT_TRAINING_LIBRARIES)
        == "10001 []"
    )


def test_a_hardened_container_serves_restarts_and_stops(docker: Docker, repo: Path) -> None:
    port = free_port()
    site, publish = f"http://127.0.0.1:{port}", f"--publish=127.0.0.1:{port}:8000"
    docker(
        "run",
        "--detach",
        "--name",
        NAME,
        "--restart=unless-stopped",
        publish,
        *HARDENED.split(),
        NAME,
    )
    try:
        assert served_release(site) == champion(repo)
        assert json.loads(get(f"{site}/v2/models/{NAME}/ready")) == {"ready": True}  # for KServe
        inside = json.loads(docker("exec", "--user=0", NAME, "python", "-c", INSPECT))
        assert not any(inside["rights"]) and len(inside["rights"]) == 5 and not inside["can_rise"]
        assert inside["wrong"].pop("/tmp") is None
        assert set(inside["wrong"].values()) == {"Read-only file system"}
        payload = (repo / "data/example.png").read_bytes()
        assert b"availabilitybudgetburn" in get(f"{site}/docs/runbook/server.md")
        with urlopen(
            Request(f"{site}/predict", payload, {"content-type": "image/png"})
        ) as response:
            assert json.loads(response.read())["label"]
        health = "--format={{.State.Health.Status}}"
        wait_for(lambda: docker("inspect", health, NAME) == "healthy")
        kill(docker, NAME)
        wait_for(lambda: docker("inspect", "--format={{.RestartCount}}", NAME) == "1")
        assert served_release(site) == champion(repo)
        start = time.monotonic()
        docker("stop", f"--time={GRACE_S}", NAME)
        assert time.monotonic() - start < GRACE_S
        assert docker("inspect", "--format={{.State.ExitCode}}", NAME) == "0"
    finally:
        docker("rm", "--force", NAME)


def test_detects_the_capabilities_of_a_container_without_hardening(
    docker: Docker, repo: Path
) -> None:
    bare = ["--rm", "--user=0", "--entrypoint=python", NAME]
    inside = json.loads(docker("run", *bare, "-c", INSPECT))
    assert any(inside["rights"]) and inside["can_rise"]
    assert set(inside["wrong"].values()) == {None}


def test_an_altered_release_does_not_start(docker: Docker, repo: Path, tmp_path: Path) -> None:
    releases, id = shutil.copytree(repo / "releases", tmp_path / "releases"), champion(repo)
    options = ["--detach", "--name", NAME, f"--volume={releases}:/app/releases:ro"]
    damage(releases / id / "model.onnx")
    docker("run", *options, *HARDENED.split(), NAME)
    try:
        state = "--format={{.State.Status}} {{.State.ExitCode}}"
        wait_for(lambda: docker("inspect", state, NAME) == "exited 1")
        log = docker("logs", NAME)
        assert f"releases/{id}/model.onnx has SHA-256 " in log and "unfit-release" in log
    finally:
        docker("rm", "--force", NAME)


def test_prometheus_of_compose_scrapes_a_server_that_restarts(docker: Docker, repo: Path) -> None:
    file = repo / "deploy/compose.yaml"
    port, watch = free_port(), free_port()
    (file.parent / ".env").write_text(f"CONTAINER_TEST_PORT={port}\nPROMETHEUS_PORT={watch}\n")
    if re.search(
        r"version v?1\.", docker("compose", "version")
    ):  # Debian 12 has a version without `name`
        file.write_text(file.read_text().replace(f"name: {NAME}\n", ""))
    compose = ["compose", "--project-name", NAME, "--file", str(file)]
    services = yaml.safe_load(file.read_text())["services"]
    name, calls = (services[service]["image"] for service in ("prometheus", "alertmanager"))

    def query(expression: str) -> str:
        response = json.loads(get(f"http://127.0.0.1:{watch}/api/v1/query?query={expression}"))
        series = response["data"]["result"]
        return series[0]["value"][1] if series else ""

    with image(docker, name), image(docker, calls):
        try:
            docker(
                *compose, "up", "--detach", "--no-build", "prometheus"
            )  # which also starts the server
            wait_for(lambda: query("up") == "1")
            started = query("process_start_time_seconds")
            server = docker(*compose, "ps", "--quiet", "server")
            assert served_release(f"http://127.0.0.1:{port}") == champion(repo)
            assert "rollout.json" in docker("exec", server, "python", "-c", LIST)
            kill(docker, server)
            wait_for(lambda: query("process_start_time_seconds") not in (started, ""))
            wait_for(lambda: query("up") == "1")
        finally:
            docker(*compose, "down", "--volumes")
    assert not docker("ps", "--all", "--quiet", f"--filter=name={NAME}")


FLEET = "fleet-test"
REPORT = {
    "device": "a",
    "version": "1",
    "disk_free_bytes": 1,
    "outbox_depth": 0,
    "outbox_dropped": 0,
}
REPORT |= dict.fromkeys(("model_sha256", "latency_p95_ms", "drift_score_max"))


def test_the_collector_of_compose_stores_reports(
    docker: Docker, render: Render, tmp_path: Path
) -> None:
    """It writes to its volume only, Prometheus scrapes it, and all alert rules are loaded."""
    folder = tmp_path / "repo"
    shutil.copytree(render(project_name=FLEET, modality="tabular", target="hybrid"), folder)
    for name in ("keys/release.pub", "releases/rollout.json"):  # the collector reads neither
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")
    env = variables(folder, environment(requirements(folder, "serve", "train", "dev")))
    subprocess.run(["uv", "lock", "--quiet"], cwd=folder, env=env, check=True)
    file, port, watch = folder / "deploy/compose.yaml", free_port(), free_port()
    (file.parent / ".env").write_text(
        f"FLEET_TEST_COLLECT_PORT={port}\nFLEET_TEST_COLLECT_KEYS=a-key\nPROMETHEUS_PORT={watch}\n"
    )
    if re.search(r"version v?1\.", docker("compose", "version")):
        file.write_text(file.read_text().replace(f"name: {FLEET}\n", ""))
    compose = ["compose", "--project-name", FLEET, "--file", str(file)]
    (python,) = PYTHON.findall((folder / DOCKERFILE).read_text())
    prometheus = yaml.safe_load(file.read_text())["services"]["prometheus"]["image"]
    site, watching = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{watch}/api/v1"
    batch = Request(f"{site}/events", json.dumps(REPORT).encode(), {"x-api-key": "a-key"})

    def query(expression: str) -> list[Any]:
        return list(json.loads(get(f"{watching}/query?query={expression}"))["data"]["result"])

    with image(docker, python), image(docker, prometheus):
        docker("build", "--quiet", "--tag", FLEET, "--file", f"{folder / DOCKERFILE}", f"{folder}")
        try:
            docker(*compose, "up", "--detach", "--no-build", "--no-deps", "collector", "prometheus")
            wait_for(lambda: get(f"{site}/healthz") == b"")
            with urlopen(batch, timeout=30) as response:
                assert response.status == 200
            container = docker(*compose, "ps", "--quiet", "collector")
            health = "--format={{.State.Health.Status}}"
            wait_for(lambda: docker("inspect", health, container) == "healthy")
            docker(*compose, "rm", "--force", "--stop", "collector")
            docker(*compose, "up", "--detach", "--no-build", "--no-deps", "collector")
            wait_for(
                lambda: 'device_outbox_depth{device="a"} 0.0' in get(f"{site}/metrics").decode()
            )
            wait_for(lambda: query('device_last_seen_timestamp_seconds{device="a"}'))
            groups = json.loads(get(f"{watching}/rules"))["data"]["groups"]
            names = {rule["name"] for group in groups for rule in group["rules"]}
            assert names >= {"DeviceSilent", "ServerDown"}
        finally:
            docker(*compose, "down", "--volumes")
            docker("image", "rm", "--force", FLEET)
