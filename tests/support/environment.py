"""The environments that rendered repos run in, built once and shared by all tests.

A render's own `make setup` is `uv sync`; on Linux that brings the CUDA build of PyTorch with it.
Tests install the same requirements with `uv pip` instead, which takes the CPU build where pip is
configured to find one. `test_setup.py` does the real `make setup`.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import copier

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".cache" / "environments"
# Compiled, as after anybody's first run: where Python may not write bytecode, imports take twice
# as long each time.
PARTS = ("copier.yml", "template", "includes", "hooks", "docs")
INSTALL = ["pip", "install", "--quiet", "--compile-bytecode"]


def requirements(render: Path, *groups: str) -> list[str]:
    """Return what a rendered `pyproject.toml` asks for: always, and in these groups or extras."""
    project = tomllib.loads((render / "pyproject.toml").read_text())
    named = project["project"].get("optional-dependencies", {}) | project["dependency-groups"]
    wanted = project["project"]["dependencies"] + [r for g in groups for r in named.get(g, [])]
    # For developers there is one environment for all answers: PyTorch is installed, and read by
    # mypy, once. What is deployed is installed exactly; `test_render.py` holds imports against
    # what each render names.
    return sorted({*wanted, *(_of_developers() if "dev" in groups else ())})


@cache
def _of_developers() -> tuple[str, ...]:
    """Return what the render asks for that asks for most."""
    with TemporaryDirectory() as folder:
        source, render = release(Path(folder, "source")), Path(folder, "render")
        most = {"modality": "image", "target": "hybrid", "uplink": "mqtt"}
        copier.run_copy(str(source), render, data=most, defaults=True, quiet=True)
        project = tomllib.loads((render / "pyproject.toml").read_text())
    groups = project["dependency-groups"]["train"] + project["dependency-groups"]["dev"]
    extras = project["project"]["optional-dependencies"]["serve"]
    return (*project["project"]["dependencies"], *groups, *extras)


def environment(wanted: list[str]) -> Path:
    """Return an environment with these requirements; build it when there is none yet."""
    key = hashlib.sha256("\n".join([sys.version, *INSTALL, *wanted]).encode()).hexdigest()[:12]
    folder = ENVIRONMENTS / key
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with alone(folder.with_suffix(".lock")):
        if not (folder / ".done").exists():
            _install(wanted, folder)
            (folder / ".done").touch()
    return folder


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Let one of the processes in which the tests run in at a time."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(wanted: list[str], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    ask = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
    found = subprocess.run(ask, capture_output=True, text=True).stdout.strip()
    links = found or os.environ.get("PIP_FIND_LINKS", "")
    more = {"UV_FIND_LINKS": links} if links else {}
    uv = [shutil.which("uv", path=search_path()) or "uv"]
    subprocess.run([*uv, "venv", "-q", "-p", sys.executable, str(folder)], check=True)
    install = [*uv, *INSTALL, "-p", str(folder / "bin" / "python"), *wanted]
    subprocess.run(install, check=True, env=os.environ | more)


def release(folder: Path) -> Path:
    """Copy the template as a release would hold it: tracked and new files, without `.git`."""
    listing = ["git", "ls-files", "-co", "--exclude-standard", "-z", *PARTS]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def search_path() -> str:
    """Return PATH with the tools that are installed beside the running Python first."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def variables(render: Path, folder: Path) -> dict[str, str]:
    """Return the environment variables with which a render's own commands use `folder`."""
    path = f"{folder / 'bin'}{os.pathsep}{search_path()}"
    kept = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    # One for each process of the tests: mypy does not share its own. Nor does what it knows of
    # PyTorch hold for other settings, and these depend on one answer.
    caches = ROOT / ".cache" / os.environ.get("PYTEST_XDIST_WORKER", "main")
    settings = render / "pyproject.toml"
    mypy = "mypy-mqtt" if settings.exists() and '"paho"' in settings.read_text() else "mypy"
    return kept | {
        "PATH": path,
        "PYTHONPATH": str(render / "src"),
        "UV_PROJECT_ENVIRONMENT": str(folder),
        "UV_NO_SYNC": "1",
        "MYPY_CACHE_DIR": str(caches / mypy),
        "RUFF_CACHE_DIR": str(caches / "ruff"),
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",  # the suite runs in as many processes as there are cores
    }
