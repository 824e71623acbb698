"""What waits to be sent, in one SQLite file: a kill, a power cut or a full disk loses none of it.

The log is written ahead and synced at each commit (https://sqlite.org/wal.html). All pages of the
file and of its log are taken from the disk once; later writes only use them again, so that other
programs may fill the disk. File systems that never overwrite (btrfs) cannot promise that.
"""

import sqlite3
from pathlib import Path
from threading import RLock
from typing import NamedTuple

from prometheus_client import Counter, Gauge

OUTBOX = Path("data/outbox.db")
PAGE_BYTES, LOG_PAGES, INDEX_BYTES = 4096, 32, 32768
LOG_BYTES = 32 + LOG_PAGES * (PAGE_BYTES + 24)
SPARE_BYTES = (LOG_PAGES + 1) * PAGE_BYTES  # rewritten at once, it makes the log this long
AT_ONCE = 32  # dropped when the cap is reached
NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
DEPTH = Gauge("outbox_depth", "Decisions that wait to be sent")
DROPPED = Counter("outbox_dropped", "Oldest decisions that had to make room, ever")
TABLES = """
CREATE TABLE IF NOT EXISTS waiting (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS dropped AS SELECT 0 AS total;
CREATE TABLE IF NOT EXISTS spare AS SELECT 0 AS content;
CREATE TABLE IF NOT EXISTS reserve (content);
"""


class Waiting(NamedTuple):
    """One event: its place in the queue, the id by which repeats are known, and its JSON."""

    seq: int
    id: str
    body: str


class Outbox:
    """A queue that takes at most `max_mb` MB of the disk, its log included.

    A smaller cap than before holds from the next file on: let it run empty, then delete it.

    Raises:
        SystemExit: the file is damaged, or the disk has no room for it.
    """

    def __init__(self, max_mb: float, path: Path = OUTBOX) -> None:
        self._lock = RLock()
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._reserve(int(max_mb * 1e6 - LOG_BYTES - INDEX_BYTES) // PAGE_BYTES)
            # Closed last, it leaves the log where it is: a start on a full disk needs it.
            self._reader = reader(path)
            if path.with_name(f"{path.name}-wal").stat().st_size < LOG_BYTES:
                self._db.execute("UPDATE spare SET content = randomblob(?)", (SPARE_BYTES,))
        except sqlite3.DatabaseError as error:
            wrong = f"{path} is damaged, or the disk has no room for its {max_mb:g} MB ({error})"
            raise SystemExit(f"{wrong}. What to do: docs/runbook.md#outbox-full") from None

    def _reserve(self, pages: int) -> None:
        self._db.execute("PRAGMA synchronous=FULL")
        if pages - self._number("PRAGMA page_count") > LOG_PAGES:  # new, or a larger cap
            self._db.execute("PRAGMA journal_mode=DELETE")  # takes no room for pages that are new
            self._db.executescript(TABLES)
            short = pages - self._number("PRAGMA page_count") - 2
            self._db.execute("INSERT INTO reserve VALUES (zeroblob(?))", (short * 4092,))
        self._db.execute("DROP TABLE IF EXISTS reserve")
        self._db.execute(f"PRAGMA max_page_count={self._number('PRAGMA page_count')}")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
        self._db.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES * 3 // 4}")

    def put(self, id: str, body: str) -> None:
        """Add an event; it is on disk when this returns. The oldest go when the cap is reached."""
        full = False
        with self._lock:
            while True:
                try:
                    self._db.execute("INSERT INTO waiting (id, body) VALUES (?, ?)", (id, body))
                    return
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF not in NO_ROOM:
                        raise
                    # If it was the log that could not grow: now it starts anew in its own pages.
                    self._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
                    if full and not self._drop_oldest():
                        raise
                    full = True

    def _drop_oldest(self) -> int:
        delete = "DELETE FROM waiting WHERE seq < (SELECT min(seq) FROM waiting) + ?"
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            dropped = self._db.execute(delete, (AT_ONCE,)).rowcount
            self._db.execute("UPDATE dropped SET total = total + ?", (dropped,))
        DROPPED.inc(dropped)
        return dropped

    def oldest(self, n: int) -> list[Waiting]:
        """Return up to n events, oldest first; they stay until they are acknowledged."""
        with self._lock:
            return oldest(self._reader, n)

    def acknowledge(self, seq: int) -> None:
        """Forget the events up to this one."""
        with self._lock:
            self._db.execute("DELETE FROM waiting WHERE seq <= ?", (seq,))

    def depth(self) -> int:
        """Return how many wait: only the oldest ever go, so that no number is missing between."""
        return self._number("SELECT ifnull(max(seq) - min(seq) + 1, 0) FROM waiting")

    def dropped(self) -> int:
        """Return how many had to make room since the file was made."""
        return self._number("SELECT total FROM dropped")

    def show(self) -> None:
        """Export depth and drops as metrics of the process; once."""
        DEPTH.set_function(self.depth)
        DROPPED.inc(self.dropped())

    def close(self) -> None:
        """End the use of the file."""
        with self._lock:
            self._db.close()
            self._reader.close()

    def _number(self, query: str) -> int:
        with self._lock:
            return int(self._db.execute(query).fetchone()[0])


def reader(path: Path) -> sqlite3.Connection:
    """Open an outbox to look at it; its device may be running."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    oldest(db, 1)
    return db


def oldest(db: sqlite3.Connection, n: int) -> list[Waiting]:
    """Read n events, all with -1; done when this returns, so that it is in nobody's way."""
    rows = db.execute("SELECT seq, id, body FROM waiting ORDER BY seq LIMIT ?", (n,))
    return [Waiting(*row) for row in rows.fetchall()]


def outbox() -> None:
    """Print what waits, one JSON object a line, oldest first.

    Raises:
        SystemExit: there is no outbox yet, or it cannot be read.
    """
    try:
        waiting = oldest(reader(OUTBOX), -1)
    except sqlite3.DatabaseError as error:
        raise SystemExit(f"{OUTBOX} cannot be read ({error}). `make edge` makes one.") from None
    for event in waiting:
        print(event.body)
