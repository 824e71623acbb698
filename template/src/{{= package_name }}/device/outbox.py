"""The outbox: a queue of decisions on disk that survives kills, power cuts and a full disk.

It is a SQLite file with a write-ahead log, synced at each commit (https://sqlite.org/wal.html). All
pages of the file and its log are allocated when it is created, and later writes reuse them, so it
keeps working when other programs fill the disk. Copy-on-write file systems such as btrfs do not
give this guarantee.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from threading import RLock
from typing import NamedTuple, TypeVar

from prometheus_client import Counter, Gauge

from ..atomic import make_private
from .outbox_file import LOG_BYTES, PAGE_BYTES, SPARE_BYTES, TABLES, count_pages, prepare
from .report import log, report_fault
from .sqlite_file import delete, is_damage, primary_code, salvage, set_aside

OUTBOX = Path("data/outbox.db")
# Dropping one event per new event would double the syncs of a full outbox. Dropping 32 at once adds
# 3 %, and they are 0.1 % of the 28,000 decisions that fit into 8 MB.
DROPPED_AT_ONCE = 32
# An event is at most 1 MB, and a batch too; this bounds the memory for reading one.
MAX_READ_BYTES = 1_000_000
MAX_SHARE = 1 / 2  # of the outbox, for one event
LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)  # another process is reading or writing
NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)  # the file is full, or the disk is
DEPTH = Gauge("outbox_depth", "Decisions waiting to be sent")
DROPPED = Counter("outbox_dropped", "Decisions dropped to make room, since the outbox was created")
Result = TypeVar("Result")


class QueuedEvent(NamedTuple):
    """One event: its number in the queue, its id for deduplication, and its JSON."""

    seq: int
    id: str
    body: str


class Outbox:
    """A queue that takes at most `max_mb` MB on disk, including its log.

    A damaged file is set aside, and a new one takes the events that can still be read from it. An
    existing file never shrinks: to lower `max_mb`, delete the file once it is empty.

    With `may_use_memory`, events are kept in memory while the file cannot be used; `return_to_disk`
    ends that.

    Raises:
        SystemExit: the disk has no room for the file, or it cannot be written.
    """

    def __init__(self, max_mb: float, path: Path = OUTBOX, may_use_memory: bool = False) -> None:
        self._lock = RLock()
        self._path = path
        self._may_use_memory = may_use_memory
        self._pages = count_pages(max_mb)
        self._db = sqlite3.connect(":memory:")  # until the file is open
        self._reader = self._db
        self.in_memory = False
        self.dropped_now = 0  # by this process
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if not self._recover(error):
                wrong = f"{path} cannot be used, or the disk has no room for {max_mb:g} MB"
                remedy = "What to do: docs/runbook/devices.md#outbox-file"
                raise SystemExit(f"{wrong} ({error}). {remedy}") from None

    def _open(self) -> None:
        self.close()
        with suppress(OSError):  # a read-only disk
            make_private(self._path)
        self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._reader = self._db
        prepare(self._db, self._pages)
        # SQLite deletes the log when the last connection closes, unless it is read-only. This
        # one closes last: a start on a full disk needs the log.
        self._reader = open_reader(self._path)
        log_path = self._path.with_name(f"{self._path.name}-wal")
        if not log_path.exists() or log_path.stat().st_size < LOG_BYTES:
            self._db.execute("UPDATE spare SET content = randomblob(?)", (SPARE_BYTES,))
        self.in_memory = False

    def _open_in_memory(self) -> None:
        self.close()
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._reader = self._db
        self._db.executescript(TABLES)
        self._db.execute(f"PRAGMA max_page_count={self._pages}")
        self.in_memory = True

    def _recover(self, error: sqlite3.Error) -> bool:
        """Replace a damaged file, or use memory; return whether the queue can be used again."""
        if is_damage(error) and not self.in_memory:
            with suppress(OSError, sqlite3.Error):
                self._replace(error)
                return True
        if self.in_memory or not self._may_use_memory or primary_code(error) in LOCKED:
            return False
        report_fault("disk", f"{self._path} cannot be used ({error}). Memory is used instead.")
        self._open_in_memory()
        return True

    def _replace(self, error: sqlite3.Error) -> None:
        """Set the file aside, and move what can be read from it into a new one."""
        self.close()
        aside = set_aside(self._path)
        report_fault("file", f"{self._path} is damaged ({error}). It is kept as {aside}.")
        try:
            self._open()
        except sqlite3.DatabaseError as no_room:
            if primary_code(no_room) not in NO_ROOM:
                raise
            events = _salvage(aside)
            delete(aside)
            log(f"{aside} is deleted, because the disk has no room for both.")
            self._open()
        else:
            events = _salvage(aside)
        self._put_all(events)
        log(f"{self._path} is new, with {len(events)} decisions that were read from {aside}.")

    def return_to_disk(self) -> None:
        """Use the file again, if it can be used now, and move the events in memory to it."""
        with self._lock:
            if not self.in_memory:
                return
            events = read_oldest(self._db, -1)
            dropped = self.drop_count()
            memory = self._db
            self._db = self._reader = sqlite3.connect(":memory:")  # so that `memory` stays open
            try:
                self._open()
                self._db.execute("UPDATE dropped SET total = total + ?", (dropped,))
            except (OSError, sqlite3.DatabaseError):
                self.close()
                self._db = self._reader = memory
                return
            memory.close()
            self._put_all([(event.id, event.body) for event in events])
            log(f"{self._path} is in use again, with {len(events)} decisions from memory.")

    def _put_all(self, events: list[tuple[str, str]]) -> None:
        """Add events in one commit, or one by one if there is no room for that."""
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany("INSERT INTO waiting (id, body) VALUES (?, ?)", events)
        except sqlite3.DatabaseError:
            for id, body in events:
                self.put(id, body)

    def _try(self, query: Callable[[], Result]) -> Result:
        """Run a query, a second time if the queue had to be recovered."""
        with self._lock:
            try:
                return query()
            except sqlite3.DatabaseError as error:
                if not self._recover(error):
                    raise
                return query()

    def put(self, id: str, body: str) -> None:
        """Add an event; it is on disk when this returns. A full outbox drops its oldest events.

        Raises:
            sqlite3.OperationalError: the event takes half of the outbox, or the file is locked.
        """
        if len(body) > self._pages * PAGE_BYTES * MAX_SHARE:
            raise sqlite3.OperationalError(f"an event of {len(body)} characters is too large")
        self._try(lambda: self._put(id, body))

    def _put(self, id: str, body: str) -> None:
        may_drop = False
        while True:
            try:
                self._db.execute("INSERT INTO waiting (id, body) VALUES (?, ?)", (id, body))
                return
            except sqlite3.OperationalError as error:
                if primary_code(error) not in NO_ROOM:
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

    def oldest(self, n: int, max_bytes: int = MAX_READ_BYTES) -> list[QueuedEvent]:
        """Return up to n events, oldest first, and fewer if they are larger than `max_bytes`.

        The first one is returned in any case. They stay until acknowledged.
        """
        return self._try(lambda: read_oldest(self._reader, n, max_bytes))

    def acknowledge(self, seq: int) -> None:
        """Delete all events up to and including number `seq`."""
        self._try(lambda: self._db.execute("DELETE FROM waiting WHERE seq <= ?", (seq,)))

    def move_to_end(self, event: QueuedEvent) -> None:
        """Put the first event behind all others."""
        self.put(event.id, event.body)
        self.acknowledge(event.seq)

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
        return self._try(lambda: int(self._db.execute(query).fetchone()[0]))


def _salvage(path: Path) -> list[tuple[str, str]]:
    rows = salvage(path, "SELECT seq, id, body FROM waiting WHERE seq > ? ORDER BY seq")
    return [(id, body) for _, id, body in rows if isinstance(id, str) and isinstance(body, str)]


def open_reader(path: Path) -> sqlite3.Connection:
    """Open an outbox read-only, also while its device is running."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    db.text_factory = lambda raw: raw.decode(errors="replace")  # a damaged event blocks no other
    read_oldest(db, 1)  # SQLite opens the file at the first query: fail here, not later
    return db


def read_oldest(db: sqlite3.Connection, n: int, max_bytes: int | None = None) -> list[QueuedEvent]:
    """Read n events, or all with -1. Leaves no read lock, which would let the log grow."""
    events: list[QueuedEvent] = []
    size = 0
    query = "SELECT seq, id, body FROM waiting ORDER BY seq LIMIT ?"
    with closing(db.execute(query, (n,))) as rows:
        for seq, id, body in rows:
            size += len(str(body))
            if events and max_bytes is not None and size > max_bytes:
                break
            events.append(QueuedEvent(seq, str(id), str(body)))
    return events


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
