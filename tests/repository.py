"""Git histories for tests: real repositories, by whoever `conftest.hermetic` says it is."""

import contextlib
import subprocess
from collections.abc import Mapping
from pathlib import Path


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder; it must succeed."""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def written(folder: Path, files: Mapping[str, str | bytes | None]) -> Path:
    """Write files below a folder, and remove those that are None."""
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


def committed(
    folder: Path, files: Mapping[str, str | bytes | None] | None = None, tag: str = ""
) -> Path:
    """Write files, and commit all there is, in the repository around it or else in a new one."""
    written(folder, files or {})
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        git(folder.parent, "init", "--quiet", "--template=", "--initial-branch=main", folder.name)
    git(folder, "add", "--all")
    words = f"release {tag}" if tag else "work of the user"
    git(folder, "commit", "--quiet", "--allow-empty", f"--message={words}")
    if tag:
        git(folder, "tag", tag)
    return folder
