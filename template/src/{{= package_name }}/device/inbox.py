"""Files that wait for the device: a folder into which programs and sensors move whole files."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ..scope import load_params
from ..task.features import CONTENT_TYPES

INBOX = Path("data/inbox")
REFUSED = Path("data/refused")
# A sensor goes on while the loop is stopped. It stops adding at 100 files: by default that is
# 100 s of payloads, few enough to be decided on soon after the loop is back.
MAX_WAITING = 100
MAX_REFUSED = 100  # enough to see what is wrong with a sensor; the oldest are deleted
IS_TABLE = CONTENT_TYPES.keys() == {"application/json"}  # then a stream has one payload per line


def list_files(folder: Path = INBOX) -> list[Path]:
    """Return the complete files, oldest first. A hidden one is still being written."""
    files = filter(Path.is_file, folder.glob("[!.]*"))
    return sorted(files, key=lambda path: path.stat().st_mtime_ns)


def set_aside(path: Path) -> None:
    """Keep a refused file to be looked at; of too many, as of a broken sensor, the oldest go."""
    path.replace(REFUSED / path.name)
    for old in list_files(REFUSED)[:-MAX_REFUSED]:
        old.unlink()


def deliver(payload: bytes) -> None:
    """Put a payload into the inbox: write a hidden file, then rename it."""
    INBOX.mkdir(parents=True, exist_ok=True)
    name = f"{time.time_ns()}{next(iter(CONTENT_TYPES.values()))}"
    draft = INBOX / f".{name}"
    draft.write_bytes(payload)
    draft.replace(INBOX / name)


def put() -> None:
    """The command `put`: deliver standard input as one payload; of a table, one per line."""
    stream = sys.stdin.buffer
    payloads = stream if IS_TABLE else [stream.read()]
    for payload in payloads:
        if payload.strip():
            deliver(payload)


def capture() -> None:
    """The command `capture`: deliver what a sensor sees or hears, for as long as this runs.

    Raises:
        SystemExit: `capture` in `params.yaml` is empty, or that command failed.
    """
    if not load_params().capture:
        raise SystemExit("No capture in params.yaml: it names a command that prints one payload.")
    for payload in _read_sensor():
        if len(list_files()) < MAX_WAITING:
            deliver(payload)


def _read_sensor() -> Iterator[bytes]:
    """Run `capture` of `params.yaml` every `capture_every_s`; yield what it prints."""
    params = load_params()
    while True:
        next_s = time.monotonic() + params.capture_every_s
        run = subprocess.run(params.capture, shell=True, capture_output=True)  # noqa: S602 (yours)
        if run.returncode or not run.stdout:
            reason = run.stderr.decode(errors="replace").strip() or "it printed nothing"
            raise SystemExit(f"capture in params.yaml failed, status {run.returncode}: {reason}")
        yield run.stdout
        time.sleep(max(0, next_s - time.monotonic()))
