"""Shared by the benchmarks: renders, their environments, timing and the report."""

import http.client
import json
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import distributions, version
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, NamedTuple

import copier
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests/support"))
from environment import environment as environment  # noqa: E402
from environment import release  # noqa: E402
from environment import requirements as requirements  # noqa: E402
from environment import variables as variables  # noqa: E402

INSIDE = Path(__file__).parent / "inside"  # scripts that run in the environment of a render
PACKAGE = "scratch_detector"  # package name of the default answers
MODALITIES = ("image", "audio", "tabular")
KINDS = {".png": "image/png", ".wav": "audio/wav", ".json": "application/json"}
READY_WITHIN_S = 60
console = Console(stderr=True)


class Cost(NamedTuple):
    """Wall seconds, and CPU seconds of this process and its ended children."""

    wall_s: float
    cpu_s: float


class Running(NamedTuple):
    """A ready server."""

    pid: int
    port: int
    ready_s: float


def cost(action: Callable[[], object]) -> Cost:
    """Run an action once and return its cost."""
    wall, cpu = time.perf_counter(), _cpu_s()
    action()
    return Cost(time.perf_counter() - wall, _cpu_s() - cpu)


def _cpu_s() -> float:
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield a temporary folder, isolated from the user's settings of Copier and git."""
    with TemporaryDirectory(prefix="poc2prod-bench-") as name:
        folder = Path(name)
        (folder / "copier.yml").write_text("{}\n")
        (folder / "git").write_text("[user]\n\tname = Bench\n\temail = bench@example.com\n")
        os.environ |= {
            "COPIER_SETTINGS_PATH": str(folder / "copier.yml"),
            "GIT_CONFIG_GLOBAL": str(folder / "git"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "DVC_SITE_CACHE_DIR": str(folder / "dvc"),
            "ORT_DISABLE_TELEMETRY": "1",
        }
        yield folder


def template(folder: Path, as_git: bool = False) -> Path:
    """Copy the template as in a release, optionally as a git repository."""
    release(folder)
    if as_git:
        for step in (["init", "-q"], ["add", "--all"], ["commit", "-q", "-m", "Release"]):
            subprocess.run(["git", *step], cwd=folder, check=True)
    return folder


def render(source: Path, folder: Path, **answers: Any) -> Path:
    """Render in this process, with default answers except for those given."""
    copier.run_copy(str(source), folder, data=answers, defaults=True, quiet=True, vcs_ref="HEAD")
    return folder


def copy_command(source: Path, folder: Path) -> Path:
    """Render the defaults with the `copier` command."""
    options = ["copy", "--defaults", "--quiet", "--vcs-ref", "HEAD"]
    subprocess.run([sys.executable, "-m", "copier", *options, source, folder], check=True)
    return folder


def training(folder: Path) -> Path:
    """Return the development environment of a render."""
    return environment(requirements(folder, "serve", "train", "dev"))


def run(command: Sequence[str | Path], folder: Path, env: dict[str, str]) -> None:
    """Run a command of a render; it must succeed."""
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{command} failed:\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")


def is_ready(port: int) -> bool:
    """Whether the server of a render is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def server(
    command: Sequence[str | Path],
    folder: Path,
    env: dict[str, str],
    is_ready: Callable[[int], bool] = is_ready,
) -> Iterator[Running]:
    """Start a server, yield it once it is ready, and stop it at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = env | {f"{PACKAGE.upper()}_PORT": str(port)}
    with TemporaryFile() as log:
        start = time.monotonic()
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True
        )
        try:
            while not is_ready(port):
                if process.poll() is not None or time.monotonic() - start > READY_WITHIN_S:
                    log.seek(0)
                    raise SystemExit(f"{command} is not ready:\n{log.read().decode()}")
                time.sleep(0.02)
            yield Running(process.pid, port, time.monotonic() - start)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


def predict(port: int, payload: Path, times: int = 1) -> None:
    """Request predictions over one connection; each must return status 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body, headers = payload.read_bytes(), {"content-type": KINDS[payload.suffix]}
    for _ in range(times):
        connection.request("POST", "/predict", body, headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status != http.HTTPStatus.OK:
            raise SystemExit(f"The server returned {response.status}: {answer!r}")
    connection.close()


def show(title: str, table: Sequence[Sequence[str]]) -> None:
    """Print a table whose first row holds the headings."""
    drawn = Table(title=title, title_justify="left")
    for i, heading in enumerate(table[0]):
        drawn.add_column(heading, justify="right" if i else "left")
    for row in table[1:]:
        drawn.add_row(*row)
    Console(width=110).print(drawn)


def report(
    title: str,
    table: Sequence[Sequence[str]],
    figures: dict[str, Any],
    runs: int,
    place: Path | None = None,
) -> None:
    """Print a table for people, then one line of JSON for machines.

    With the environment of a render as `place`, the JSON includes its package versions.
    """
    show(title, table)
    versions = {"python": platform.python_version(), "copier": version("copier")}
    if place:
        found = distributions(path=[str(path) for path in place.glob("lib/python*/site-packages")])
        of_interest = {"torch", "onnxruntime", "dvc", "fastapi"}
        versions |= {d.name: d.version for d in found if d.name in of_interest}
    rounded = json.loads(json.dumps(figures), parse_float=lambda text: float(f"{float(text):.4g}"))
    result = {"benchmark": Path(sys.argv[0]).stem, "figures": rounded, "runs": runs}
    print(json.dumps(result | {"versions": versions, "cores": os.cpu_count()}))
