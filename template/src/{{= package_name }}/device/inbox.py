"""The inbox: a folder into which programs and sensors move complete files for the device."""

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..scope import load_params
from ..task.features import CONTENT_TYPES, MAX_PAYLOAD_BYTES

INBOX = Path("data/inbox")
REFUSED = Path("data/refused")
# `capture` continues while the loop is stopped, but adds nothing to an inbox with 100 files. With
# the default interval they are 100 s of payloads, which the loop processes within seconds.
MAX_WAITING = 100
MAX_REFUSED = 100  # enough to diagnose a sensor; the oldest files beyond that are deleted
IS_TABLE = CONTENT_TYPES.keys() == {"application/json"}  # a stream then has one payload per line


def scan(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Return the complete files with their status, oldest first. Hidden files are incomplete.

    Others may add and remove files at any time: a file that is gone, or may not be looked at, is
    left out.
    """
    found = []
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                info = path.lstat()  # a link could lead to a file that its maker may not read
                if stat.S_ISREG(info.st_mode) and not path.name.startswith("."):
                    found.append((path, info))
    return sorted(found, key=lambda item: item[1].st_mtime_ns)


def remove_links(folder: Path) -> list[Path]:
    """Remove links from a folder, and files that have another name elsewhere; return them."""
    removed = []
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                info = path.lstat()
                is_other = stat.S_ISREG(info.st_mode) and info.st_nlink > 1
                if stat.S_ISLNK(info.st_mode) or (is_other and not path.name.startswith(".")):
                    path.unlink()
                    removed.append(path)
    return removed


def list_files(folder: Path = INBOX) -> list[Path]:
    """Return the complete files, oldest first."""
    return [path for path, _ in scan(folder)]


def set_aside(path: Path) -> None:
    """Keep a refused file for inspection. The oldest beyond `MAX_REFUSED` files are deleted.

    The folder of refused files may be on another file system, full, or gone; then a copy is tried,
    and the file leaves the inbox in any case.

    Raises:
        OSError: the file cannot be removed from the inbox.
    """
    try:
        REFUSED.mkdir(parents=True, exist_ok=True)
        path.replace(REFUSED / path.name)
    except OSError:
        draft = REFUSED / f".{path.name}"
        with suppress(OSError):
            if path.stat().st_size <= MAX_PAYLOAD_BYTES:
                shutil.copyfile(path, draft)
                draft.replace(REFUSED / path.name)
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    _delete_old_refused()


def _delete_old_refused() -> None:
    """Bound the number of refused files, and their size. The latest one stays in any case."""
    total_bytes = 0
    for count, (path, info) in enumerate(reversed(scan(REFUSED))):
        total_bytes += info.st_size
        if count >= MAX_REFUSED or (count and total_bytes > MAX_REFUSED * MAX_PAYLOAD_BYTES):
            with suppress(OSError):
                path.unlink()


def deliver(payload: bytes) -> None:
    """Add a payload to the inbox: write a hidden file, then rename it."""
    INBOX.mkdir(parents=True, exist_ok=True)
    name = f"{time.time_ns()}{next(iter(CONTENT_TYPES.values()))}"
    draft = INBOX / f".{name}"
    draft.write_bytes(payload)
    draft.replace(INBOX / name)


def put() -> None:
    """The command `put`: add standard input to the inbox, as one payload or one per line."""
    stream = sys.stdin.buffer
    payloads = stream if IS_TABLE else [stream.read()]
    for payload in payloads:
        if payload.strip():
            deliver(payload)


def capture() -> None:
    """The command `capture`: add payloads from a sensor to the inbox until stopped.

    Raises:
        SystemExit: `capture` in `params.yaml` is empty, or the command that it names failed.
    """
    if not load_params().capture:
        remedy = "Set it to a command that prints one payload; docs/devices.md has examples"
        raise SystemExit(f"`capture` is empty in params.yaml. {remedy}.")
    for payload in _read_sensor():
        if len(list_files()) < MAX_WAITING:
            deliver(payload)


def _read_sensor() -> Iterator[bytes]:
    """Run `capture` of `params.yaml` every `capture_every_s` seconds, and yield its output."""
    params = load_params()
    while True:
        next_s = time.monotonic() + params.capture_every_s
        run = subprocess.run(params.capture, shell=True, capture_output=True)  # noqa: S602 (yours)
        if run.returncode or not run.stdout:
            reason = run.stderr.decode(errors="replace").strip() or "it printed nothing"
            raise SystemExit(f"`capture` in params.yaml failed, status {run.returncode}: {reason}")
        yield run.stdout
        time.sleep(max(0, next_s - time.monotonic()))
