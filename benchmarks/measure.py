"""What the benchmarks share: renders, environments, what a piece of work costs, and the report."""

import http.client
import json
import os
import platform
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import distributions, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import copier
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests"))
from environment import environment, requirements, variables  # noqa: E402

__all__ = ["environment", "requirements", "variables"]
INSIDE = Path(__file__).parent / "inside"  # scripts that run in the environment of a render
PACKAGE = "scratch_detector"  # what the default answers call it
MODALITIES = ("image", "audio", "tabular")
KINDS = {".png": "image/png", ".wav": "audio/wav", ".json": "application/json"}
READY_WITHIN_S = 60
console = Console(stderr=True)


class Cost(NamedTuple):
    """Seconds on the clock, and seconds of CPU of this process and those it waited for."""

    wall_s: float
    cpu_s: float


class Running(NamedTuple):
    """A server that answers."""

    pid: int
    port: int
    ready_s: float


def cost(action: Callable[[], object]) -> Cost:
    """Run it once and say what it took."""
    wall, cpu = time.perf_counter(), _cpu_s()
    action()
    return Cost(time.perf_counter() - wall, _cpu_s() - cpu)


def _cpu_s() -> float:
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


@contextmanager
def workplace() -> Iterator[Path]:
    """Give a temporary folder, and keep the settings of whoever runs this out of it."""
    with TemporaryDirectory(prefix="poc2prod-bench-") as name:
        folder = Path(name)
        (folder / "copier.yml").write_text("{}\n")
        (folder / "git").write_text("[user]\n\tname = Bench\n\temail = bench@example.com\n")
        os.environ["COPIER_SETTINGS_PATH"] = str(folder / "copier.yml")
        os.environ["GIT_CONFIG_GLOBAL"] = str(folder / "git")
        os.environ["GIT_CONFIG_NOSYSTEM"] = "1"
        os.environ["DVC_SITE_CACHE_DIR"] = str(folder / "dvc")
        yield folder


def template(folder: Path) -> Path:
    """Copy the template as a release would hold it: tracked and new files, without `.git`."""
    listing = ["git", "ls-files", "-co", "--exclude-standard", "-z", "copier.yml", "template"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def render(source: Path, folder: Path, **answers: Any) -> Path:
    """Render in this process, with defaults for what is not answered."""
    copier.run_copy(str(source), folder, data=answers, defaults=True, quiet=True, vcs_ref="HEAD")
    return folder


def git(folder: Path, *arguments: str) -> None:
    """Run one git command in a folder."""
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, stdout=subprocess.DEVNULL)


def run(command: Sequence[str | Path], folder: Path, env: dict[str, str]) -> str:
    """Run a command of a render to its end and return what it printed."""
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{command} failed:\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
    return result.stdout


@contextmanager
def server(command: Sequence[str | Path], folder: Path, env: dict[str, str]) -> Iterator[Running]:
    """Start a server, wait until it is ready, hand it over, stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = env | {f"{PACKAGE.upper()}_PORT": str(port)}
    start = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while not _is_ready(port):
            if process.poll() is not None or time.monotonic() - start > READY_WITHIN_S:
                raise SystemExit(f"{command} did not become ready")
            time.sleep(0.02)
        yield Running(process.pid, port, time.monotonic() - start)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def predict(port: int, payload: Path, times: int = 1) -> None:
    """Ask for predictions over one connection; each must be answered 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(times):
        headers = {"content-type": KINDS[payload.suffix]}
        connection.request("POST", "/predict", payload.read_bytes(), headers)
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise SystemExit(f"The server answered {response.status}: {response.read()!r}")
        response.read()
    connection.close()


def report(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    figures: dict[str, Any],
    runs: int,
    place: Path | None = None,
) -> None:
    """Print the table for people, then one line of JSON for machines."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=max(console.width, 110)).print(table)
    versions = {"python": platform.python_version(), "copier": version("copier")}
    if place:  # the environment of a render
        found = distributions(path=[str(path) for path in place.glob("lib/python*/site-packages")])
        of_interest = {"torch", "onnxruntime", "dvc", "fastapi"}
        versions |= {d.name: d.version for d in found if d.name in of_interest}
    rounded = json.loads(json.dumps(figures), parse_float=lambda text: round(float(text), 4))
    result = {"benchmark": Path(sys.argv[0]).stem, "figures": rounded, "runs": runs}
    print(json.dumps(result | {"versions": versions, "cores": os.cpu_count()}))
