"""Git repositories for tests, with the user that `conftest.hermetic` configures."""

import contextlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

from environment import environment, requirements, variables


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder; it must succeed."""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def write_files(folder: Path, files: Mapping[str, str | bytes | None]) -> Path:
    """Write files in a folder; delete those that are None."""
    for name, text in files.items():
        path = folder / name
        if text is None:
            path.unlink()
            with contextlib.suppress(OSError):
                path.parent.rmdir()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def commit_files(
    folder: Path, files: Mapping[str, str | bytes | None] | None = None, tag: str = ""
) -> Path:
    """Write files and commit everything, in the enclosing repository or a new one."""
    write_files(folder, files or {})
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        git(folder.parent, "init", "--quiet", "--template=", "--initial-branch=main", folder.name)
    git(folder, "add", "--all")
    words = f"release {tag}" if tag else "work of the user"
    git(folder, "commit", "--quiet", "--allow-empty", f"--message={words}")
    if tag:
        git(folder, "tag", tag)
    return folder


def run_in(folder: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a render, or a copy of one, with its environment."""
    env = variables(folder, environment(requirements(folder, "serve", "train", "dev"))) | more
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


def done(result: subprocess.CompletedProcess[str]) -> str:
    """Check that a command succeeded, and return its output."""
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def damage(path: Path) -> None:
    """Flip one bit in the middle of a file; size, mode and owner do not change."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)
