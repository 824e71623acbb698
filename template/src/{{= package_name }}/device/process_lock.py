"""A lock per folder, so that two processes do not work on the same files."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from .report import log


def lock_folder(path: Path, command: str) -> IO[str] | None:
    """Hold the lock file of a command until the process ends; the result keeps it open.

    Returns None if the file cannot be written: then nothing is locked.

    Raises:
        SystemExit: another process holds it.
    """
    file = None
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = path.open("a+")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if file is not None:
            file.seek(0)
        pid = file.read(20).strip() if file is not None else ""
        first = f"process {pid}" if pid.isdecimal() else "another process"
        where = path.absolute().parent
        raise SystemExit(
            f"Cannot start: `{command}` is already running in {where}, as {first}."
        ) from None
    except OSError as error:  # a read-only file system, for example
        log(f"Cannot lock {path}: {error}. Make sure that `{command}` runs only once.")
        return None
    with suppress(OSError):
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
    return file
