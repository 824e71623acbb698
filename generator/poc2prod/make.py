"""Runs the make targets of a project."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .refusal import Refusal

STOPPED_WITHIN_S = 10


def child_environment() -> dict[str, str]:
    """Return the environment for a project's commands: with our `uv`, without our venv and make."""
    ours = {"VIRTUAL_ENV", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return kept | {"PATH": path}


def run_make(target: str, folder: Path, environment: dict[str, str]) -> None:
    """Run `make target` and wait. Raises ValueError when it fails."""
    with start_make(target, folder, environment, log=None) as process:
        if status := process.wait():
            raise ValueError(f"exit status {status}, see above")


@contextmanager
def start_make(
    target: str, folder: Path, environment: dict[str, str], log: IO[bytes] | None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `make target` in its own process group, which is stopped afterwards."""
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
    """Set up what `make setup` does (environment, git, hooks), then commit everything once.

    Raises Refusal that names the step; what was written stays, and the step can be repeated.
    """
    environment = child_environment()
    commit = ["git", "commit", "--quiet", "--message=Start from poc2prod"]
    try:
        run_make("setup", folder, environment)
        for command in (["git", "add", "--", "."], [*commit, "--", "."]):
            subprocess.run(command, cwd=folder, env=environment, check=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        reason = f"`{' '.join(error.cmd)}` failed" if hasattr(error, "cmd") else error
        raise Refusal(f"{folder} is written, but not set up: {reason}; repeat it there") from None
