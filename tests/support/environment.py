"""Python environments for renders, built once and shared by all tests.

`make setup` of a render runs `uv sync`, which on Linux installs the CUDA build of PyTorch. Tests
install the same requirements with `uv pip`, which takes a CPU build if pip is configured to find
one. `test_setup.py` runs the real `make setup`.
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
PARTS = ("copier.yml", "template", "includes", "hooks", "docs")
# With bytecode, as after a first run: without it, imports take twice as long in every process.
INSTALL = ["pip", "install", "--quiet", "--compile-bytecode"]


def requirements(render: Path, *groups: str) -> list[str]:
    """Return the requirements of a rendered `pyproject.toml`, with those of groups or extras."""
    project = tomllib.loads((render / "pyproject.toml").read_text())
    optional = project["project"].get("optional-dependencies", {}) | project["dependency-groups"]
    wanted = project["project"]["dependencies"] + [r for g in groups for r in optional.get(g, [])]
    # Developers share one environment for all answers, so PyTorch is installed and analysed by
    # mypy once. Deployed environments contain exactly what the render requires; `test_render.py`
    # compares imports with these requirements.
    return sorted({*wanted, *(_developer_requirements() if "dev" in groups else ())})


@cache
def _developer_requirements() -> tuple[str, ...]:
    """Return the requirements of the renders that have the most."""
    most = {"modality": "image", "target": "hybrid", "uplink": "mqtt"}
    wanted = set[str]()
    with TemporaryDirectory() as folder:
        source = release(Path(folder, "source"))
        for name in ("pytorch", "lightning", "keras", "trees"):
            modality = "tabular" if name == "trees" else "image"
            render, data = Path(folder, name), most | {"framework": name, "modality": modality}
            copier.run_copy(str(source), render, data=data, defaults=True, quiet=True)
            project = tomllib.loads((render / "pyproject.toml").read_text())
            groups = project["dependency-groups"]["train"] + project["dependency-groups"]["dev"]
            extras = project["project"]["optional-dependencies"]["serve"]
            wanted.update(project["project"]["dependencies"], groups, extras)
    return tuple(sorted(wanted))


def environment(wanted: list[str], *options: str) -> Path:
    """Return an environment with these requirements; build it if it does not exist.

    The options are those of `uv pip install`.
    """
    words = [sys.version, *INSTALL, *options, *wanted]
    key = hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]
    folder = ENVIRONMENTS / key
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(folder.with_suffix(".lock")):
        if not (folder / ".done").exists():
            _install([*options, *wanted], folder)
            (folder / ".done").touch()
    return folder


@contextmanager
def exclusive_lock(lock: Path) -> Iterator[None]:
    """Hold an exclusive lock among the test processes."""
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
    """Copy the template as in a release: tracked and new files, without `.git`."""
    listing = ["git", "ls-files", "-co", "--exclude-standard", "-z", *PARTS]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def search_path() -> str:
    """Return PATH, with the folder of the running Python first."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def variables(render: Path, folder: Path) -> dict[str, str]:
    """Return environment variables that make commands of a render use the environment `folder`."""
    path = f"{folder / 'bin'}{os.pathsep}{search_path()}"
    kept = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    # One cache per test process, because mypy cannot share one, and a separate one for mqtt, whose
    # mypy settings differ.
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
        "OMP_NUM_THREADS": "1",  # the suite already uses all cores
    }
