"""The real `make setup`, as on a user's machine; only the cache of uv is shared."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, Render
from environment import environment, requirements, search_path, variables

OURS = ("UV_", "VIRTUAL_ENV", "PYTHONPATH", "PRE_COMMIT")


def run(folder: Path, env: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=1200
    )


def count_bytes(lock: dict[str, Any]) -> int:
    """Return the size of the files in a lock file that Linux on x86 downloads for Python 3.11."""
    name = re.compile(r"-(?:cp311-cp311|cp3\d+-abi3|py3-none)-(?:any|manylinux\S*x86_64)\S*\.whl$")
    files = (package.get("wheels", []) for package in lock["package"])
    fitting = ([wheel["size"] for wheel in wheels if name.search(wheel["url"])] for wheels in files)
    return sum(sizes[0] for sizes in fitting if sizes)


@pytest.fixture
def project(render: Render, tmp_path: Path) -> Path:
    shutil.copytree(render(modality="image", target="cloud"), tmp_path / "repo")
    return tmp_path / "repo"


@pytest.mark.long
def test_setup_installs_everything_once(project: Path) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    env = inherited | {"PATH": search_path()}
    made = run(project, env, "make", "setup")
    assert made.returncode == 0, made.stdout + made.stderr
    assert (project / ".venv" / "bin" / "python").exists()
    lock = (project / "uv.lock").read_bytes()
    assert b'name = "onnxruntime"' in lock
    assert "Downloads about 3 GB, mostly CUDA" in made.stdout
    assert 2.5e9 < count_bytes(tomllib.loads(lock.decode())) < 3.5e9
    branch = run(project, env, "git", "symbolic-ref", "--short", "HEAD")
    assert branch.stdout == "main\n"
    hook = project / ".git" / "hooks" / "pre-commit"
    assert os.access(hook, os.X_OK) and "pre-commit" in hook.read_text()

    imported = "import sys, scratch_detector, torch, onnxruntime; print(sys.prefix)"
    loaded = run(project, env, "uv", "run", "python", "-c", imported)
    assert loaded.stdout == f"{project / '.venv'}\n", loaded.stderr
    # git must ignore the environment.
    untracked = run(project, env, "git", "status", "--porcelain", "--untracked-files=all").stdout
    assert "uv.lock" in untracked and ".venv" not in untracked

    before = hook.read_bytes(), run(project, env, "git", "config", "--local", "--list").stdout
    again = run(project, env, "make", "setup")
    assert again.returncode == 0, again.stdout + again.stderr
    after = hook.read_bytes(), run(project, env, "git", "config", "--local", "--list").stdout
    assert after == before and (project / "uv.lock").read_bytes() == lock
    assert "Installed" not in again.stderr, "the second run must not install anything"


def test_setup_inside_a_repository_does_not_create_another(project: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "uv").write_text("#!/bin/sh\n")
    (tools / "uv").chmod(0o755)
    made = run(project, os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}, "make", "setup")
    assert made.returncode == 0, made.stderr
    assert not (project / ".git").exists()


def test_hooks_that_git_cannot_use_do_not_stop_setup(project: Path, tmp_path: Path) -> None:
    """Many companies set `core.hooksPath` for all repositories; pre-commit then refuses."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "uv").write_text('#!/bin/sh\n[ "$1" = sync ] || { shift; exec "$@"; }\n')
    (tools / "uv").chmod(0o755)
    everywhere = tmp_path / "gitconfig"
    everywhere.write_text(f"[core]\n\thooksPath = {tmp_path / 'hooks'}\n")
    env = variables(project, environment(requirements(project, "serve", "train", "dev")))
    env |= {"PATH": f"{tools}:{env['PATH']}", "GIT_CONFIG_GLOBAL": str(everywhere)}
    made = run(project, env, "make", "setup")
    assert made.returncode == 0 and "core.hooksPath" in made.stdout + made.stderr
    assert "No git hooks, see above. `make test` runs the same checks." in made.stdout


@pytest.mark.long
def test_settings_of_pip_for_a_shared_machine_do_not_stop_the_setup_of_this_repo(
    tmp_path: Path,
) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    project = '[project]\nname = "small"\nversion = "1"\n[dependency-groups]\ntest = ["wheel"]\n'
    (tmp_path / "pyproject.toml").write_text(project)
    (tmp_path / "small.py").touch()
    elsewhere = {"PIP_USER": "1", "PIP_TARGET": str(tmp_path / "t"), "PIP_PREFIX": str(tmp_path)}
    made = run(tmp_path, os.environ | elsewhere, "make", "setup")
    assert made.returncode == 0, made.stderr
    assert (tmp_path / ".venv/bin/uv").exists() and not (tmp_path / "t").exists()


def test_setup_without_uv_prints_how_to_install_it(project: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("make", "git"):
        (tools / name).symlink_to(shutil.which(name) or name)
    result = run(project, {"PATH": str(tools)}, "make", "setup")
    assert result.returncode != 0
    assert "uv is needed" in result.stderr and "pip install uv" in result.stderr
    assert not (project / ".git").exists() and not (project / ".venv").exists()
