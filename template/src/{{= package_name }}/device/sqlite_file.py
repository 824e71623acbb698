"""Damaged SQLite files: how to tell them from a full disk, and how to set them aside."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

# Codes of https://sqlite.org/rescode.html. SQLITE_ERROR, for our queries: another schema.
DAMAGE = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_FORMAT,
)
# The disk returns other bytes than were written, or fewer.
UNREADABLE = (
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_DATA,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
)
# Left for recovery by a person. An earlier one is replaced, so that they do not fill the disk.
SUFFIX = ".damaged"
SKIPPED_ROWS = 16  # behind a damaged page; a page holds 20 rows or fewer
MAX_SKIPS = 1000
PARTS = ("", "-wal", "-journal")


class Damaged(sqlite3.DatabaseError):
    """The file can be opened, but its content is wrong."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def primary_code(error: sqlite3.Error) -> int:
    """Return the result code of an error without its extended part; 0 if it has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether the content of the file is at fault, and not the disk or another process."""
    code = getattr(error, "sqlite_errorcode", 0)
    return primary_code(error) in DAMAGE or code in UNREADABLE


def check_content(db: sqlite3.Connection) -> None:
    """Check all pages of a database, which takes about 0.1 s for 8 MB.

    Raises:
        sqlite3.DatabaseError: the file is damaged.
    """
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise Damaged(verdict)


def set_aside(path: Path) -> Path:
    """Rename a closed database and its log; return the new path.

    Raises:
        OSError: the files cannot be renamed.
    """
    aside = path.with_name(path.name + SUFFIX)
    for part in PARTS:
        aside.with_name(aside.name + part).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            path.with_name(path.name + part).replace(aside.with_name(aside.name + part))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    return aside


def delete(path: Path) -> None:
    """Delete a closed database and its log."""
    for part in (*PARTS, "-shm"):
        path.with_name(path.name + part).unlink(missing_ok=True)


def salvage(path: Path, query: str) -> Iterator[tuple[object, ...]]:
    """Yield the rows that can still be read from a damaged file.

    `query` returns an ascending number first, and takes the number after which to start.
    """
    last = 0
    step = SKIPPED_ROWS
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as db:
        db.text_factory = lambda raw: raw.decode(errors="replace")
        for _ in range(MAX_SKIPS):
            try:
                for row in db.execute(query, (last,)):
                    last = row[0]
                    step = SKIPPED_ROWS
                    yield row
            except sqlite3.DatabaseError:  # a damaged page: go on behind it
                last += step
                step *= 2
            else:
                return
