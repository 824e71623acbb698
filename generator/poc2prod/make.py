"""Run the make targets of a project."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .addresses import redact
from .refusal import Refusal

# What the tools of a project need. Tokens, keys and sockets of the user are not among it.
INHERITED = re.compile(
    r"HOME|USER|LOGNAME|SHELL|TERM|TZ|LANG|LANGUAGE|LC_\w+|TMPDIR|NO_COLOR|FORCE_COLOR|CI"
    r"|(?:https?|ftp|all|no)_proxy|(?:HTTPS?|FTP|ALL|NO)_PROXY"
    r"|SSL_CERT_(?:FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|UV_(?:CACHE_DIR|CONFIG_FILE|DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|OFFLINE"
    r"|PYTHON|PYTHON_\w+|NO_SYNC|PROJECT_ENVIRONMENT|LINK_MODE|HTTP_TIMEOUT|NATIVE_TLS|NO_CACHE)"
    r"|PIP_(?:INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|CERT|NO_INDEX|CACHE_DIR)"
    r"|PRE_COMMIT_HOME|EMAIL|XDG_CONFIG_HOME|GIT_(?:AUTHOR|COMMITTER)_\w+|GIT_CONFIG_(?:GLOBAL|NOSYSTEM)"
    r"|DVC_NO_ANALYTICS|DO_NOT_TRACK|OMP_NUM_THREADS|XDG_CACHE_HOME"
)
STOPPED_WITHIN_S = 10
# The tools that a project needs besides git, and how to install them.
INSTALL = {"make": "apt install make", "uv": "pip install uv"}


def missing_tools() -> list[str]:
    """Return the tools of `INSTALL` that are not on the user's PATH."""
    return [tool for tool in INSTALL if not shutil.which(tool)]


def own_command() -> str:
    """Return the command that runs this program: its name if it is on the PATH, or its path."""
    if shutil.which("poc2prod"):
        return "poc2prod"
    if Path(sys.argv[0]).name == "poc2prod":
        return shlex.quote(str(Path(sys.argv[0]).absolute()))
    return f"{shlex.quote(sys.executable)} -m poc2prod"


def child_environment() -> dict[str, str]:
    """Return the environment for a project's commands: `INHERITED` without secrets.

    Our own `uv` comes first on the PATH.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if INHERITED.fullmatch(name) and redact(value) == value
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    # With another HOME, uv would download everything again.
    home = Path(os.environ.get("HOME", os.devnull))
    places = {
        "UV_CACHE_DIR": Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache", "uv"),
        "UV_PYTHON_INSTALL_DIR": Path(
            os.environ.get("XDG_DATA_HOME") or home / ".local/share", "uv", "python"
        ),
    }
    kept = {name: str(place) for name, place in places.items() if place.is_dir()}
    return kept | inherited | {"PATH": path}


def run_make(target: str, folder: Path, environment: dict[str, str]) -> None:
    """Run `make target` and wait. Raises ValueError if it fails."""
    with start_make(target, folder, environment, log=None) as process:
        if status := process.wait():
            raise ValueError(f"exit status {status}, see above")


@contextmanager
def start_make(
    target: str, folder: Path, environment: dict[str, str], log: IO[bytes] | None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `make target` in a new process group, and stop that group on exit."""
    process = subprocess.Popen(
        ["make", target],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def set_up(folder: Path) -> None:
    """Run `make setup` (environment, git, hooks), then commit everything.

    Raises Refusal that names the failed step; the files stay, and the step can be repeated.
    """
    environment = child_environment()
    commit = ["git", "commit", "--quiet", "--message=Start from poc2prod"]
    try:
        run_make("setup", folder, environment)
        for command in (["git", "add", "--", "."], [*commit, "--", "."]):
            subprocess.run(command, cwd=folder, env=environment, check=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        reason = f"`{' '.join(error.cmd)}` failed" if hasattr(error, "cmd") else error
        message = f"{folder} was created, but not set up: {reason}; run it again in that folder"
        raise Refusal(message) from None
