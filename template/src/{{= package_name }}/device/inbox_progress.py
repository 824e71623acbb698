"""Progress through the inbox that survives a crash, so that no file stops the others.

A file that was begun twice and never finished has probably ended the process, for example by its
size in memory: the third time it is set aside. A file that was decided on but cannot be removed,
such as one in a read-only folder, is not decided on again.
"""

import errno
import hashlib
import json
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

from ..task.features import MAX_PAYLOAD_BYTES
from .inbox import INBOX, remove_links, scan, set_aside
from .report import FAULTS, log, report_fault

BEGUN = Path("data/inbox-begun")
KEPT = Path("data/inbox-kept")
MAX_STARTS = 2
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
RETRY_S = 10  # before a file is tried again whose decision could not be stored
# Not a fault of the file: no descriptor or no memory is free at the moment.
MOMENTARY = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR, errno.ESTALE)


class InboxProgress:
    """Which files of the inbox are waiting, which one was begun, and which have to stay."""

    def __init__(self) -> None:
        self._retry_s: dict[str, float] = {}
        self._said: set[str] = set()
        self._kept = self._read_kept()
        # Written in place and not synced: it has to survive the process, not a power cut.
        self._begun_file: int | None = None
        with suppress(OSError):
            self._begun_file = os.open(BEGUN, os.O_RDWR | os.O_CREAT, 0o644)
        self._last = [*self._read_begun().split(), "", ""][:2]

    def waiting(self) -> list[tuple[Path, os.stat_result]]:
        """Return the files to decide on now, oldest first."""
        now_s = time.monotonic()
        for path in remove_links(INBOX):
            report_fault("input", f"{path} was a link, and is removed. Move files to the inbox.")
        files = [(path, info, _key(path, info)) for path, info in scan(INBOX)]
        keys = {key for *_, key in files}
        self._retry_s = {key: due for key, due in self._retry_s.items() if key in keys}
        return [
            (path, info)
            for path, info, key in files
            if key not in self._kept and self._retry_s.get(key, 0) <= now_s
        ]

    def begin(self, path: Path, info: os.stat_result) -> bool:
        """Note on disk that a file is begun; return False if that was so `MAX_STARTS` times."""
        key = _key(path, info)
        last, starts = self._last
        count = int(starts) + 1 if key == last and starts.isdecimal() else 1
        self._write_begun(f"{key} {count}")
        self._last = [key, str(count)]
        if count > MAX_STARTS:
            report_fault("input", f"{path} was begun {MAX_STARTS} times and never finished.")
        return count <= MAX_STARTS

    def finish(self, path: Path, info: os.stat_result, is_refused: bool) -> None:
        """Remove a file from the inbox. If that fails, say so once and do not return to it."""
        try:
            if is_refused:
                set_aside(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            self._keep(path, info, error)
        self._write_begun("")
        self._last = ["", ""]

    def postpone(self, path: Path, info: os.stat_result, error: Exception) -> None:
        """Try a file again later, because its decision could not be made or stored."""
        self._retry_s[_key(path, info)] = time.monotonic() + RETRY_S
        self._write_begun("")
        self._last = ["", ""]
        self._say_once("postponed", f"{path} is tried again later: {error!r}")

    def _keep(self, path: Path, info: os.stat_result, error: OSError) -> None:
        key = _key(path, info)
        self._kept.add(key)
        FAULTS.labels("input").inc()
        self._say_once("kept", f"Cannot remove {path}: {error}. It is not decided on again.")
        with suppress(OSError), KEPT.open("a") as file:
            file.write(f"{key}\n")

    def _say_once(self, kind: str, text: str) -> None:
        if kind not in self._said:
            log(f"{text} More of this kind are not logged.")
        self._said.add(kind)

    def _read_kept(self) -> set[str]:
        """Return the noted files that are still there, and forget the others."""
        try:
            noted = set(KEPT.read_text(errors="replace").split())
        except OSError:
            return set()
        kept = noted & {_key(path, info) for path, info in scan(INBOX)}
        with suppress(OSError):
            if kept:
                KEPT.write_text("".join(f"{key}\n" for key in sorted(kept)))
            else:
                KEPT.unlink()
        return kept

    def _read_begun(self) -> str:
        with suppress(OSError):
            if self._begun_file is not None:
                return os.pread(self._begun_file, 200, 0).decode(errors="replace")
        return ""

    def _write_begun(self, text: str) -> None:
        with suppress(OSError):
            if self._begun_file is not None:
                os.pwrite(self._begun_file, text.ljust(100).encode(), 0)


def _key(path: Path, info: os.stat_result) -> str:
    """Identify a file by its name, time and size: another one of the same name has another key."""
    words = json.dumps([path.name, info.st_mtime_ns, info.st_size])
    return hashlib.sha256(words.encode()).hexdigest()


def read_payload(path: Path) -> bytes:
    """Read a file of at most `MAX_PAYLOAD_BYTES`, and a byte more of one that has grown.

    A file that may not be read, or that the disk cannot return, counts as empty.

    Raises:
        OSError: it is gone, is not a file anymore, or cannot be opened at the moment.
    """
    try:
        with open(os.open(path, READ), "rb") as file:  # noqa: PTH123
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
                raise FileNotFoundError(errno.ENOENT, "is not a file anymore", str(path))
            return file.read(MAX_PAYLOAD_BYTES + 1)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno in MOMENTARY:
            raise
        return b""
