"""A queue of decisions on disk that survives a kill, a power cut and a full disk.

It is one SQLite file with a write-ahead log, synced at each commit (https://sqlite.org/wal.html).
All pages of the file and of its log are taken from the disk when it is made; later writes reuse
them, so that other programs may fill the disk. File systems that never overwrite in place (btrfs)
cannot promise that.
"""

import sqlite3
from pathlib import Path
from threading import RLock
from typing import NamedTuple

from prometheus_client import Counter, Gauge

OUTBOX = Path("data/outbox.db")
PAGE_BYTES = 4096  # SQLite's default
# A put changes two pages, and five where a page is split (measured). The log takes about ten puts
# before it is copied back into the file; its 132 kB are little beside the smallest outbox, 1 MB.
LOG_PAGES = 32
CHECKPOINT_PAGES = LOG_PAGES * 3 // 4  # the commit that passes this may write a few more pages
LOG_BYTES = 32 + LOG_PAGES * (PAGE_BYTES + 24)  # headers of the log and its frames: fileformat2
INDEX_BYTES = 32768  # the `-shm` file grows in blocks of this size, and one is enough for 32 pages
# A blob of this many bytes is rewritten in one commit, once, to make the log as long as it may get.
SPARE_BYTES = (LOG_PAGES + 1) * PAGE_BYTES
BLOB_BYTES_PER_PAGE = PAGE_BYTES - 4  # an overflow page begins with the number of the next one
# Dropping one event for each new one would double the syncs of a full outbox. 32 cost 3 %, and are
# 0.1 % of the 28,000 decisions that 8 MB hold.
DROPPED_AT_ONCE = 32
NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)  # a full file, and a full disk
DEPTH = Gauge("outbox_depth", "Decisions waiting to be sent")
DROPPED = Counter("outbox_dropped", "Decisions dropped to make room, since the outbox was created")
TABLES = """
CREATE TABLE IF NOT EXISTS waiting (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS dropped AS SELECT 0 AS total;
CREATE TABLE IF NOT EXISTS spare AS SELECT 0 AS content;
CREATE TABLE IF NOT EXISTS reserve (content);
"""


class QueuedEvent(NamedTuple):
    """One event: its number in the queue, the id by which repeats are known, and its JSON."""

    seq: int
    id: str
    body: str


class Outbox:
    """A queue that takes at most `max_mb` MB of the disk, its log included.

    A smaller cap holds for a new file only: let the outbox run empty, then delete it.

    Raises:
        SystemExit: the file is damaged, or the disk has no room for it.
    """

    def __init__(self, max_mb: float, path: Path = OUTBOX) -> None:
        self._lock = RLock()
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._reserve(int(max_mb * 1e6 - LOG_BYTES - INDEX_BYTES) // PAGE_BYTES)
            # The last connection to close deletes the log, unless it is read-only. This one is
            # closed last: a start on a full disk needs the log where it is.
            self._reader = open_reader(path)
            log = path.with_name(f"{path.name}-wal")
            if log.stat().st_size < LOG_BYTES:
                self._db.execute("UPDATE spare SET content = randomblob(?)", (SPARE_BYTES,))
        except sqlite3.DatabaseError as error:
            wrong = f"{path} is damaged, or the disk has no room for its {max_mb:g} MB ({error})"
            raise SystemExit(f"{wrong}. What to do: docs/runbook/devices.md#outbox-full") from None

    def _reserve(self, pages: int) -> None:
        """Make the file this long, by a blob that is then deleted: its pages stay in the file."""
        self._db.execute("PRAGMA synchronous=FULL")  # NORMAL would lose commits in a power cut
        if pages - self._query_int("PRAGMA page_count") > LOG_PAGES:  # a new file, or a larger cap
            # In WAL mode the blob would go through the log, and take its room twice.
            self._db.execute("PRAGMA journal_mode=DELETE")
            self._db.executescript(TABLES)
            blob_pages = pages - self._query_int("PRAGMA page_count") - 2  # stay below the cap
            blob_bytes = blob_pages * BLOB_BYTES_PER_PAGE
            self._db.execute("INSERT INTO reserve VALUES (zeroblob(?))", (blob_bytes,))
        self._db.execute("DROP TABLE IF EXISTS reserve")
        self._db.execute(f"PRAGMA max_page_count={self._query_int('PRAGMA page_count')}")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
        self._db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")

    def put(self, id: str, body: str) -> None:
        """Add an event; it is on disk when this returns. In a full outbox the oldest are dropped.

        Raises:
            sqlite3.OperationalError: not even an empty outbox has room.
        """
        may_drop = False
        with self._lock:
            while True:
                try:
                    self._db.execute("INSERT INTO waiting (id, body) VALUES (?, ?)", (id, body))
                    return
                except sqlite3.OperationalError as error:
                    primary_code = error.sqlite_errorcode & 0xFF  # the rest is the extended code
                    if primary_code not in NO_ROOM:
                        raise
                    # Perhaps the log could not grow, because a reader kept it from starting again.
                    # Waiting for the reader costs no event, so it comes before dropping any.
                    self._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
                    if may_drop and not self._drop_oldest():
                        raise
                    may_drop = True

    def _drop_oldest(self) -> int:
        delete = "DELETE FROM waiting WHERE seq < (SELECT min(seq) FROM waiting) + ?"
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            dropped = self._db.execute(delete, (DROPPED_AT_ONCE,)).rowcount
            self._db.execute("UPDATE dropped SET total = total + ?", (dropped,))
        DROPPED.inc(dropped)
        return dropped

    def oldest(self, n: int) -> list[QueuedEvent]:
        """Return up to n events, oldest first; they stay until they are acknowledged."""
        with self._lock:
            return read_oldest(self._reader, n)

    def acknowledge(self, seq: int) -> None:
        """Delete the events up to and including this number."""
        with self._lock:
            self._db.execute("DELETE FROM waiting WHERE seq <= ?", (seq,))

    def depth(self) -> int:
        """Return how many events wait, without counting rows.

        Only the oldest are ever deleted, so that no number is missing in between.
        """
        return self._query_int("SELECT ifnull(max(seq) - min(seq) + 1, 0) FROM waiting")

    def drop_count(self) -> int:
        """Return how many events were dropped since the file was made."""
        return self._query_int("SELECT total FROM dropped")

    def export_metrics(self) -> None:
        """Export depth and drops as metrics of the process. Call it once."""
        DEPTH.set_function(self.depth)
        DROPPED.inc(self.drop_count())

    def close(self) -> None:
        with self._lock:
            self._db.close()
            self._reader.close()

    def _query_int(self, query: str) -> int:
        with self._lock:
            return int(self._db.execute(query).fetchone()[0])


def open_reader(path: Path) -> sqlite3.Connection:
    """Open an outbox read-only; its device may be running."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    read_oldest(db, 1)  # SQLite opens the files at the first query: raise here if it cannot
    return db


def read_oldest(db: sqlite3.Connection, n: int) -> list[QueuedEvent]:
    """Read n events, or all with -1. No read lock is left, which would keep the log growing."""
    rows = db.execute("SELECT seq, id, body FROM waiting ORDER BY seq LIMIT ?", (n,))
    return [QueuedEvent(*row) for row in rows.fetchall()]


def outbox() -> None:
    """The command `outbox`: print the decisions that wait as JSON lines, oldest first.

    Raises:
        SystemExit: there is no outbox yet, or it cannot be read.
    """
    try:
        waiting = read_oldest(open_reader(OUTBOX), -1)
    except sqlite3.DatabaseError as error:
        raise SystemExit(f"{OUTBOX} cannot be read ({error}). `make edge` makes one.") from None
    for event in waiting:
        print(event.body)
