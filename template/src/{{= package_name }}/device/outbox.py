"""The outbox: a queue of decisions on disk that survives kills, power cuts and a full disk.

It is a SQLite file with a write-ahead log, synced at each commit (https://sqlite.org/wal.html). All
pages of the file and its log are allocated when it is created, and later writes reuse them, so it
keeps working when other programs fill the disk. Copy-on-write file systems such as btrfs do not
give this guarantee.
"""

import sqlite3
from pathlib import Path
from threading import RLock
from typing import NamedTuple

from prometheus_client import Counter, Gauge

OUTBOX = Path("data/outbox.db")
PAGE_BYTES = 4096  # SQLite's default
# A put changes two pages, or five if a page is split (measured). The log holds about ten puts
# before it is copied back into the file; it takes 132 kB, and the smallest outbox 1 MB.
LOG_PAGES = 32
CHECKPOINT_PAGES = LOG_PAGES * 3 // 4  # the commit that exceeds this may write a few more pages
LOG_BYTES = 32 + LOG_PAGES * (PAGE_BYTES + 24)  # headers of the log and its frames: fileformat2
INDEX_BYTES = 32768  # the `-shm` file grows in blocks of this size; 32 pages need one
# Writing a blob of this size in one commit extends the log to its full length.
SPARE_BYTES = (LOG_PAGES + 1) * PAGE_BYTES
BLOB_BYTES_PER_PAGE = PAGE_BYTES - 4  # an overflow page starts with the number of the next one
# Dropping one event per new event would double the syncs of a full outbox. Dropping 32 at once adds
# 3 %, and they are 0.1 % of the 28,000 decisions that fit into 8 MB.
DROPPED_AT_ONCE = 32
NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)  # the file is full, or the disk is
DEPTH = Gauge("outbox_depth", "Decisions waiting to be sent")
DROPPED = Counter("outbox_dropped", "Decisions dropped to make room, since the outbox was created")
TABLES = """
CREATE TABLE IF NOT EXISTS waiting (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS dropped AS SELECT 0 AS total;
CREATE TABLE IF NOT EXISTS spare AS SELECT 0 AS content;
CREATE TABLE IF NOT EXISTS reserve (content);
"""


class QueuedEvent(NamedTuple):
    """One event: its number in the queue, its id for deduplication, and its JSON."""

    seq: int
    id: str
    body: str


class Outbox:
    """A queue that takes at most `max_mb` MB on disk, including its log.

    An existing file never shrinks: to lower `max_mb`, delete the file once it is empty.

    Raises:
        SystemExit: the file is damaged, or the disk has no room for it.
    """

    def __init__(self, max_mb: float, path: Path = OUTBOX) -> None:
        self._lock = RLock()
        self.dropped_now = 0  # by this process
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._reserve(int(max_mb * 1e6 - LOG_BYTES - INDEX_BYTES) // PAGE_BYTES)
            # SQLite deletes the log when the last connection closes, unless it is read-only. This
            # one closes last: a start on a full disk needs the log.
            self._reader = open_reader(path)
            log = path.with_name(f"{path.name}-wal")
            if log.stat().st_size < LOG_BYTES:
                self._db.execute("UPDATE spare SET content = randomblob(?)", (SPARE_BYTES,))
        except sqlite3.DatabaseError as error:
            wrong = f"{path} is damaged, or the disk has no room for {max_mb:g} MB ({error})"
            raise SystemExit(f"{wrong}. What to do: docs/runbook/devices.md#outbox-file") from None

    def _reserve(self, pages: int) -> None:
        """Extend the file with a blob and delete the blob: its pages stay allocated."""
        self._db.execute("PRAGMA synchronous=FULL")  # NORMAL would lose commits in a power cut
        if pages - self._query_int("PRAGMA page_count") > LOG_PAGES:  # a new file, or a larger cap
            # In WAL mode the blob would also be written to the log.
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
        """Add an event; it is on disk when this returns. A full outbox drops its oldest events.

        Raises:
            sqlite3.OperationalError: the event does not fit into an empty outbox either.
        """
        may_drop = False
        with self._lock:
            while True:
                try:
                    self._db.execute("INSERT INTO waiting (id, body) VALUES (?, ?)", (id, body))
                    return
                except sqlite3.OperationalError as error:
                    primary_code = error.sqlite_errorcode & 0xFF  # without the extended part
                    if primary_code not in NO_ROOM:
                        raise
                    # A reader may have prevented the log from restarting. Wait for the reader
                    # first, because that drops no event.
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
        self.dropped_now += dropped
        DROPPED.inc(dropped)
        return dropped

    def oldest(self, n: int) -> list[QueuedEvent]:
        """Return up to n events, oldest first. They stay until acknowledged."""
        with self._lock:
            return read_oldest(self._reader, n)

    def acknowledge(self, seq: int) -> None:
        """Delete all events up to and including number `seq`."""
        with self._lock:
            self._db.execute("DELETE FROM waiting WHERE seq <= ?", (seq,))

    def depth(self) -> int:
        """Return the number of waiting events.

        Only the oldest are ever deleted, so their numbers have no gaps and no rows are counted.
        """
        return self._query_int("SELECT ifnull(max(seq) - min(seq) + 1, 0) FROM waiting")

    def drop_count(self) -> int:
        """Return how many events were dropped since the file was created."""
        return self._query_int("SELECT total FROM dropped")

    def export_metrics(self) -> None:
        """Export the depth and the drops as metrics of this process. Call it once."""
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
    """Open an outbox read-only, also while its device is running."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    read_oldest(db, 1)  # SQLite opens the file at the first query: fail here, not later
    return db


def read_oldest(db: sqlite3.Connection, n: int) -> list[QueuedEvent]:
    """Read n events, or all with -1. Leaves no read lock, which would let the log grow."""
    rows = db.execute("SELECT seq, id, body FROM waiting ORDER BY seq LIMIT ?", (n,))
    return [QueuedEvent(*row) for row in rows.fetchall()]


def outbox() -> None:
    """The command `outbox`: print the waiting decisions as JSON lines, oldest first.

    Raises:
        SystemExit: there is no outbox yet, or it cannot be read.
    """
    try:
        waiting = read_oldest(open_reader(OUTBOX), -1)
    except sqlite3.DatabaseError as error:
        raise SystemExit(f"Cannot read {OUTBOX} ({error}). `make edge` creates it.") from None
    for event in waiting:
        print(event.body)
