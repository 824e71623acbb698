"""The image, built and run by a real Docker engine: what the files of deploy/ say comes true."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import yaml

from conftest import Render
from containers import Docker, engine, free_port, get, image, when_there
from environment import environment, requirements, variables
from repository import committed
from test_road import make

pytestmark = pytest.mark.container
NAME = "container-test"  # of the image, the containers and the network
GRACE_S = 30
LIST = "import os; print(os.listdir('releases'))"
HARD = "--read-only --tmpfs=/tmp --cap-drop=ALL --security-opt=no-new-privileges --memory=512m"


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with engine() as docker:
        yield docker


@pytest.fixture(scope="module")
def repo(
    docker: Docker, render: Render, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A render with a model, of which the image was built."""
    folder = tmp_path_factory.mktemp("container") / "repo"
    shutil.copytree(render(project_name=NAME, modality="image", target="cloud"), folder)
    committed(folder)
    env = variables(folder, environment(requirements(folder, "serve", "train", "dev")))
    for target in ("model", "example", "release"):
        make(folder, target, env)
    subprocess.run(["uv", "lock", "--quiet"], cwd=folder, env=env, check=True)
    dockerfile = folder / "deploy/Dockerfile"
    (python,) = re.findall(r"^ARG PYTHON_IMAGE=(.+)$", dockerfile.read_text(), re.M)
    with image(docker, python):
        docker("build", "--quiet", "--tag", NAME, "--file", str(dockerfile), str(folder))
        yield folder
        docker("image", "rm", "--force", NAME)


def kill(docker: Docker, container: str) -> None:
    """Kill the server from outside, as the kernel does when memory runs out."""
    pid = docker("inspect", "--format={{.State.Pid}}", container)
    code = f"import os; os.kill({pid}, 9)"
    helper = ["--rm", "--pid=host", "--user=0", "--entrypoint=python"]
    docker("run", *helper, NAME, "-c", code)


def test_it_is_small_and_without_a_training_library(docker: Docker, repo: Path) -> None:
    size_mb = int(docker("image", "inspect", "--format={{.Size}}", NAME)) / 1e6
    print(f"{size_mb:.0f} MB")
    assert size_mb < 400
    code = "import importlib.util as u, os; print(os.getuid(), u.find_spec('torch'))"
    assert docker("run", "--rm", "--entrypoint=python", NAME, "-c", code) == "10001 None"


def test_hardened_it_answers_is_replaced_and_stops(docker: Docker, repo: Path) -> None:
    port = free_port()
    site, asked = f"http://127.0.0.1:{port}", f"--publish=127.0.0.1:{port}:8000"
    docker(
        "run", "--detach", "--name", NAME, "--restart=unless-stopped", asked, *HARD.split(), NAME
    )
    try:
        assert b"ready" in when_there(lambda: get(f"{site}/readyz"))
        payload = (repo / "data/example.png").read_bytes()
        with urlopen(Request(f"{site}/predict", payload, {"content-type": "image/png"})) as answer:
            assert json.loads(answer.read())["label"]
        health = "--format={{.State.Health.Status}}"
        when_there(lambda: docker("inspect", health, NAME) == "healthy")
        kill(docker, NAME)
        when_there(lambda: docker("inspect", "--format={{.RestartCount}}", NAME) == "1")
        assert b"ready" in when_there(lambda: get(f"{site}/readyz"))
        start = time.monotonic()
        docker("stop", f"--time={GRACE_S}", NAME)
        assert time.monotonic() - start < GRACE_S
        assert docker("inspect", "--format={{.State.ExitCode}}", NAME) == "0"
    finally:
        docker("rm", "--force", NAME)


def test_compose_brings_a_prometheus_that_sees_it_die_and_return(
    docker: Docker, repo: Path
) -> None:
    file = repo / "deploy/compose.yaml"
    port, watch = free_port(), free_port()
    (file.parent / ".env").write_text(f"CONTAINER_TEST_PORT={port}\nPROMETHEUS_PORT={watch}\n")
    if re.search(r"version v?1\.", docker("compose", "version")):  # as in Debian 12: no names yet
        file.write_text(file.read_text().replace(f"name: {NAME}\n", ""))
    compose = ["compose", "--project-name", NAME, "--file", str(file)]
    name = yaml.safe_load(file.read_text())["services"]["prometheus"]["image"]

    def seen(query: str) -> str:
        answer = json.loads(get(f"http://127.0.0.1:{watch}/api/v1/query?query={query}"))
        found = answer["data"]["result"]
        return found[0]["value"][1] if found else ""

    with image(docker, name):
        try:
            docker(*compose, "up", "--detach", "--no-build")
            when_there(lambda: seen("up") == "1")
            started = seen("process_start_time_seconds")
            server = docker(*compose, "ps", "--quiet", "server")
            assert b"ready" in get(f"http://127.0.0.1:{port}/readyz")
            assert "rollout.json" in docker("exec", server, "python", "-c", LIST)
            kill(docker, server)
            when_there(lambda: seen("process_start_time_seconds") not in (started, ""))
            when_there(lambda: seen("up") == "1")
        finally:
            docker(*compose, "down", "--volumes")
    assert not docker("ps", "--all", "--quiet", f"--filter=name={NAME}")
