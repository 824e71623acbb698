"""Where payloads wait for the device: files of a folder, put there whole by whoever has one."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ..scope import load_params
from ..task.features import CONTENT_TYPES

INBOX, REFUSED = Path("data/inbox"), Path("data/refused")
MAX_WAITING = 100  # from a sensor: when nobody decides, newer payloads do not fill the disk
MAX_REFUSED = 100  # kept to be looked at
ROWS = CONTENT_TYPES.keys() == {"application/json"}  # of a table: a stream has one each line


def waiting(folder: Path = INBOX) -> list[Path]:
    """Return the files that are whole, oldest first."""
    files = filter(Path.is_file, folder.glob("[!.]*"))
    return sorted(files, key=lambda path: path.stat().st_mtime_ns)


def set_aside(path: Path) -> None:
    """Keep a file that was refused; of too many, which a broken sensor sends, the oldest go."""
    path.replace(REFUSED / path.name)
    for old in waiting(REFUSED)[:-MAX_REFUSED]:
        old.unlink()


def deliver(payload: bytes) -> None:
    """Put a payload into the inbox: first under a hidden name, as anybody else has to, too."""
    INBOX.mkdir(parents=True, exist_ok=True)
    name = f"{time.time_ns()}{next(iter(CONTENT_TYPES.values()))}"
    (INBOX / f".{name}").write_bytes(payload)
    (INBOX / f".{name}").replace(INBOX / name)


def put() -> None:
    """Deliver what standard input holds: one payload, or of a table one each line."""
    stream = sys.stdin.buffer
    for payload in stream if ROWS else [stream.read()]:
        if payload.strip():
            deliver(payload)


def capture() -> None:
    """Deliver what a sensor sees or hears, for as long as this runs.

    Raises:
        SystemExit: `capture` in `params.yaml` is empty, or the command failed.
    """
    if not load_params().capture:
        raise SystemExit("No capture in params.yaml: it names a command that prints one payload.")
    for payload in _captured():
        if len(waiting()) < MAX_WAITING:
            deliver(payload)


def _captured() -> Iterator[bytes]:
    params = load_params()
    while True:
        next_s = time.monotonic() + params.capture_every_s
        run = subprocess.run(params.capture, shell=True, capture_output=True)  # noqa: S602 (yours)
        if run.returncode or not run.stdout:
            said = run.stderr.decode(errors="replace").strip() or "it printed nothing"
            raise SystemExit(f"capture in params.yaml failed, status {run.returncode}: {said}")
        yield run.stdout
        time.sleep(max(0, next_s - time.monotonic()))
