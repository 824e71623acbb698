"""A Docker engine for tests, and stand-in base images for machines that reach no registry."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from environment import ROOT

CACHE = ROOT / ".cache" / "containers"
HOOKS = "/usr/share/mmdebstrap/hooks"
TRUST = "/etc/ssl/certs/ca-certificates.crt"  # stand-ins trust the CAs of this machine
STAND_INS = {  # by image: arguments of mmdebstrap, and lines of a Dockerfile
    "python": (
        [
            "--include=ca-certificates,netbase,python3.11,python3.11-venv,tzdata",
            '--customize-hook=chroot "$1" python3.11 -m venv --copies /usr/local',
            f"--customize-hook=copy-in {TRUST} /etc/ssl/certs",
            f'--customize-hook=printf "[global]\\ncert = {TRUST}\\n" > "$1"/etc/pip.conf',
        ],
        ["ENV PATH=/usr/local/bin:/usr/bin:/bin", f"ENV SSL_CERT_FILE={TRUST}"],
    ),
    "prometheus": (
        ["--include=prometheus", '--customize-hook=install -d -o 65534 "$1"/prometheus'],
        [
            "USER 65534",
            'ENTRYPOINT ["prometheus", "--config.file=/etc/prometheus/prometheus.yml", '
            '"--storage.tsdb.path=/prometheus"]',
        ],
    ),
    "alertmanager": (
        [
            "--include=prometheus-alertmanager",
            '--customize-hook=install -d -o 65534 "$1"/alertmanager',
        ],
        [
            "USER 65534",
            'ENTRYPOINT ["prometheus-alertmanager", '
            '"--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"]',
        ],
    ),
    "device": (["--include=dbus,python3.11,systemd,systemd-sysv"], ['CMD ["/sbin/init"]']),
}
DEVICE = "localhost/device"  # not in a registry: Debian with systemd as the first process
SUPERVISED = [f"--cap-add={right}" for right in ("SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN")]
SUPERVISED += [f"--security-opt={free}=unconfined" for free in ("seccomp", "systempaths")]
SUPERVISED += ["--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw", "--network=none"]
SUPERVISED += [f"--tmpfs={folder}" for folder in ("/run:exec", "/run/lock", "/tmp")]
Docker = Callable[..., str]


@contextmanager
def engine() -> Iterator[Docker]:
    """Yield a client of the running engine, or of an engine started for the test."""
    env = os.environ | {"DOCKER_BUILDKIT": "1"}

    def works(*command: str) -> bool:
        return subprocess.run(command, env=env, capture_output=True).returncode == 0

    places = [shutil.which("docker", path=place) for place in env["PATH"].split(os.pathsep)]
    client = next((p for p in places if p and works(p, "build", "--help")), None)
    if not client:
        pytest.skip("no docker client that can build with BuildKit (Debian: apt install docker.io)")

    def docker(*command: str) -> str:
        tool = [client]
        if command[0] == "compose" and not works(client, "compose", "version"):
            tool, command = ["docker-compose"], command[1:]
            if not shutil.which(*tool):
                pytest.skip("no docker compose (Debian: apt install docker-compose)")
        result = subprocess.run([*tool, *command], env=env, capture_output=True, text=True)
        assert result.returncode == 0, f"docker {' '.join(command)}\n{result.stdout}{result.stderr}"
        return (result.stdout + result.stderr).strip()

    if works(client, "info"):
        yield docker
        return
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("no Docker engine is running, and starting one needs root and dockerd")
    folder = Path(tempfile.mkdtemp(prefix="engine-"))  # short, because paths of sockets are limited
    env["DOCKER_HOST"] = f"unix://{folder}/socket"
    bridge = Path("/sys/class/net/docker0")
    existed = bridge.exists()
    own = [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
    command = ["dockerd", *own, "--host", env["DOCKER_HOST"], "--ip=127.0.0.1"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not works(client, "info"):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"dockerd does not start: {(folder / 'log').read_text()[-300:]}")
            time.sleep(0.5)
        yield docker
    finally:
        process.terminate()
        process.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)
        if bridge.exists() and not existed:
            subprocess.run(["ip", "link", "delete", bridge.name])


def size_mb(docker: Docker, name: str) -> float:
    """Return the size of an image in MB, base image included."""
    return int(docker("image", "inspect", "--format={{.Size}}", name)) / 1e6


@contextmanager
def image(docker: Docker, name: str) -> Iterator[None]:
    """Provide an image of this name: the real one, or a stand-in made of Debian packages."""
    if not docker("image", "ls", "--quiet", name):
        kind = name.rpartition("/")[2].partition(":")[0]
        try:
            docker("pull", "--quiet", name)
        except AssertionError as error:
            if not shutil.which("mmdebstrap"):
                pytest.skip(f"no mmdebstrap to make a stand-in with: {error}")
            packages, settings = STAND_INS[kind]
            archive = CACHE / f"{kind}.tar"
            if not archive.exists():
                _make(archive, packages)
            docker("import", *(f"--change={line}" for line in settings), str(archive), name)
        yield
        docker("image", "rm", "--force", name)
    else:
        yield


def _make(archive: Path, packages: list[str]) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    part = archive.with_suffix(".part.tar")
    lean = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "doc", "locale")]
    lean += ['--aptopt=APT::Install-Recommends "false"']
    # As in Debian's own images; without this, the package that merges /usr pulls in Perl.
    lean += ["--include=usr-is-merged", f"--hook-dir={HOOKS}/merged-usr"]
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        *lean,
        *packages,
        "bookworm",
        str(part),
    ]
    subprocess.run(command, check=True)
    part.rename(archive)


@contextmanager
def device(docker: Docker, name: str) -> Iterator[Callable[..., str]]:
    """Start a machine with systemd and without a network; yield a function that runs commands."""
    with image(docker, DEVICE):
        docker("run", "--detach", "--name", name, *SUPERVISED, DEVICE)
        try:
            state = ["exec", name, "sh", "-c", "systemctl is-system-running || true"]
            wait_for(lambda: docker(*state) in ("running", "degraded"))
            yield lambda *command: docker("exec", name, *command)
        finally:
            docker("rm", "--force", "--volumes", name)


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_for(ask: Callable[[], object], seconds: float = 60) -> object:
    """Call a function until it returns something; OSError counts as nothing."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if answer := ask():
                return answer
        except OSError:
            pass
        assert time.monotonic() < deadline, "no answer in time"
        time.sleep(0.25)


def get(url: str) -> bytes:
    """Return the content at a URL."""
    with urlopen(url, timeout=5) as response:
        content: bytes = response.read()
    return content
