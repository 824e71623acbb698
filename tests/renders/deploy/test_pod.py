"""The server starts and works with what the manifests give a pod, though without a cluster.

Its variables, user, memory limit, volumes and read-only root are those of `deployment.yaml` and the
Dockerfile. The variables of all Services are added, as if service links were on.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ROOT
from deploy_rules import amount
from environment import environment, requirements
from repository import write_files
from server import KINDS
from test_failures import service

POD = ROOT / "tests/support/inside/pod.py"
SET = re.compile(r"([A-Z_]+)=(\S+)")
COPY = re.compile(r"^COPY --chmod=555 (.+) (\S+)$", re.M)
ASK = """
import json, sys
from urllib.request import Request, urlopen
from urllib.error import HTTPError
url, body, *headers = json.loads(sys.argv[1])
try:
    with urlopen(Request(url, body and body.encode(), dict(*headers)), timeout=20) as reply:
        print(reply.status, reply.read().decode(), end="")
except HTTPError as error:
    print(error.code, error.read().decode(), end="")
except OSError as error:
    print(0, error)
"""
SERVICES = ("scratch-detector", "scratch-detector-collect", "scratch-detector-keep-alive-s")


@pytest.fixture(scope="module")
def namespaces() -> None:
    for tool in ("unshare", "nsenter", "setpriv", "ip"):
        if not shutil.which(tool):
            pytest.skip(f"NOT TESTED: a pod, because {tool} is missing")
    probe = ["unshare", "-mn", "sh", "-c", "mount --make-rprivate / && mount --rbind / /mnt"]
    if (run := subprocess.run(probe, capture_output=True, text=True)).returncode:
        pytest.skip(f"NOT TESTED: a pod, because {run.stderr}")


class Pod:
    """A running pod, in its own network."""

    def __init__(self, process: Any, python: str, log: Path) -> None:
        self.process, self._python, self._log = process, python, log

    def ask(self, path: str, body: str | None = None, **headers: str) -> tuple[int, str]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        words = json.dumps([f"http://127.0.0.1:8000{path}", body, sent])
        command = ["nsenter", f"--target={self.process.pid}", "--net", self._python, "-c", ASK]
        run = subprocess.run([*command, words], capture_output=True, text=True, check=True)
        status, _, text = run.stdout.partition(" ")
        return int(status), text

    def log(self) -> str:
        return self._log.read_text()


@contextmanager
def running(project: Path, tmp_path: Path, **changes: str | None) -> Iterator[Pod]:
    """Start the pod of `deployment.yaml`, with changes of its variables."""
    deploy = project / "deploy"
    manifest = yaml.safe_load((deploy / "kubernetes/deployment.yaml").read_text())
    spec = manifest["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    dockerfile = (deploy / "Dockerfile").read_text().replace("\\\n", " ")
    app = tmp_path / "app"
    shutil.copytree(project / "src", app / "src")
    for names, place in COPY.findall(dockerfile):
        for name in names.split():
            target = app / place / (Path(name).name if place != "./releases" else "")
            copy = shutil.copytree if (project / name).is_dir() else shutil.copy
            target.parent.mkdir(parents=True, exist_ok=True)
            copy(project / name, target)
    (app / "data").mkdir()
    place = environment(requirements(project, "serve")).resolve()
    env = dict(SET.findall(" ".join(re.findall(r"^ENV (.+)$", dockerfile, re.M)[-1:])))
    for name in (*SERVICES, "kubernetes"):
        env |= service(name)
    env |= {item["name"]: item["value"] for item in container["env"]}
    env |= {"PATH": f"{place}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": "/srv/src"}
    for name, value in changes.items():
        env.pop(f"SCRATCH_DETECTOR_{name}", None)
        if value is not None:
            env[f"SCRATCH_DETECTOR_{name}"] = value
    volumes = {
        volume["name"]: volume["emptyDir"]["sizeLimit"].rstrip("i").lower()
        for volume in spec["volumes"]
        if "emptyDir" in volume
    }
    mounted = {
        mount["mountPath"].replace("/app", "/srv"): volumes[mount["name"]]
        for mount in container["volumeMounts"]
        if mount["name"] in volumes
    }
    name = f"pod-{tmp_path.name}"
    user = spec["securityContext"]["runAsUser"]
    content = {
        "name": name,
        "root": str(tmp_path / "root"),
        "app": str(app),
        "reachable": [sys.base_prefix, str(place)],
        "volumes": mounted | {"/run": "1m"},
        "secrets": {"/run/secrets/server/api_keys": "first-key\n"},
        "user": user,
        "memory_bytes": int(amount(container["resources"]["limits"]["memory"])),
        "env": env,
        "command": [f"{place}/bin/python", "-m", "scratch_detector", "serve"],
    }
    write_files(tmp_path, {"pod.json": json.dumps(content)})
    (tmp_path / "root").mkdir()
    log = tmp_path / "log"
    command = ["unshare", "-mn", sys.executable, str(POD), str(tmp_path / "pod.json")]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        yield Pod(process, sys.executable, log)
    finally:
        process.kill()
        process.wait()
        for group in Path("/sys/fs/cgroup").glob(f"**/{name}"):
            group.rmdir()


def wait_until_ready(pod: Pod) -> None:
    for _ in range(100):
        assert pod.process.poll() is None, pod.log()
        if pod.ask("/readyz")[0] == 200:
            return
        time.sleep(0.1)
    pytest.fail(pod.log())


@pytest.mark.parametrize("key", ["", "first-key"])
def test_the_server_works_as_a_pod(
    key: str, released: Path, tmp_path: Path, namespaces: None
) -> None:
    (example,) = (released / "data").glob("example.*")
    changes = {"ALLOW_ANONYMOUS": None, "API_KEYS_FILE": "/run/secrets/server/api_keys"}
    with running(released, tmp_path, **(changes if key else {})) as pod:
        wait_until_ready(pod)
        status = Path(f"/proc/{pod.process.pid}/status").read_text()
        rights = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert rights["Uid"].split() == ["10001"] * 4 and rights["Groups"].strip() == ""
        assert int(rights["CapEff"], 16) == 0 and rights["NoNewPrivs"] == "1"
        payload, kind = example.read_text(), KINDS[example.suffix]
        status_code, text = pod.ask("/predict", payload, content_type=kind, x_api_key=key)
        assert status_code == 200, text
        label = json.dumps({"id": json.loads(text)["id"], "label": json.loads(text)["label"]})
        told = pod.ask("/feedback", label, content_type="application/json", x_api_key=key)
        assert told == (200, '{"joined":true}')
        assert pod.ask("/predict", payload, content_type=kind)[0] == (401 if key else 200)
        for path in ("/healthz", "/metrics", "/", "/docs/runbook/server.md"):
            assert pod.ask(path)[0] == 200, path
        # The journal is on the volume; nothing else can be written.
        root = Path(f"/proc/{pod.process.pid}/root")
        assert (root / "srv/data/journal.db").stat().st_uid == 10001
        for place in ("srv/x", "etc/x", "var/tmp/x"):
            with pytest.raises(OSError, match="Read-only file system"):
                (root / place).write_text("x")
        pod.process.send_signal(signal.SIGTERM)
        assert pod.process.wait(30) == 0
    lines = [json.loads(line) for line in pod.log().splitlines() if line.startswith("{")]
    assert not [line for line in lines if line["level"] == "ERROR"]
    assert "Serving on http://0.0.0.0:8000" in pod.log()


def test_a_pod_without_keys_or_permission_does_not_start(
    released: Path, tmp_path: Path, namespaces: None
) -> None:
    with running(released, tmp_path, ALLOW_ANONYMOUS=None) as pod:
        assert pod.process.wait(60) == 1
    assert "Cannot start: 0.0.0.0 is not a loopback address" in pod.log()


def test_a_pod_that_needs_more_memory_is_ended(
    released: Path, tmp_path: Path, namespaces: None
) -> None:
    """The limit holds: the same pod cannot start with less than the server needs."""
    manifest = released / "deploy/kubernetes/deployment.yaml"
    project = shutil.copytree(released, tmp_path / "repo", symlinks=True)
    text = re.sub(r"(limits: .*memory: )\d+Mi", r"\g<1>20Mi", manifest.read_text())
    (project / "deploy/kubernetes/deployment.yaml").write_text(text)
    with running(project, tmp_path) as pod:
        assert pod.process.wait(60) != 0
