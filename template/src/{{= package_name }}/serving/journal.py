"""What was asked and answered, and the labels that come later: one SQLite file, bounded in time.

How much of a payload is kept is `payloads` in `scope.yaml`: nothing, its hash, or all of it.
"""

import asyncio
import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar
from zlib import crc32

from prometheus_client import Counter

from ..predictor import Prediction
from ..scope import load_params, load_scope

JOURNAL, NOWHERE = Path("data/journal.db"), Path(":memory:")
WRITE_EVERY_S, MAX_PENDING = 0.2, 10_000
UNWRITTEN = Counter("journal_dropped", "Requests that were answered, and not written down")
TABLES = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=NORMAL;
PRAGMA secure_delete=ON;
CREATE TABLE IF NOT EXISTS requests
(id PRIMARY KEY, time_s, label, confidence, model_sha256, payload_sha256, payload);
CREATE TABLE IF NOT EXISTS labels (id PRIMARY KEY, time_s, label, slice DEFAULT '');
CREATE TABLE IF NOT EXISTS forgotten (payload_sha256 PRIMARY KEY);
CREATE INDEX IF NOT EXISTS by_time ON requests (time_s);
CREATE INDEX IF NOT EXISTS by_label_time ON labels (time_s);
"""
# Of a deleted request whose payload may be an example, the hash stays, for `make feedback`.
REMEMBERED = """INSERT OR IGNORE INTO forgotten
SELECT payload_sha256 FROM requests WHERE id = ? AND payload IS NOT NULL"""
AT_ONCE = 10
OLDEST_GO = """DELETE FROM {0} WHERE id IN
(SELECT id FROM {0} ORDER BY time_s LIMIT ?)"""
JOINED = """SELECT id, r.label, r.confidence, r.model_sha256, l.label, l.slice, l.time_s
FROM labels l JOIN requests r USING (id)"""
log = logging.getLogger(__package__)
Result = TypeVar("Result")
Row = tuple[str, float, str, float, str, str | None, bytes | None]


class Labelled(NamedTuple):
    """An answer and what was right."""

    id: str
    answer: str
    confidence: float
    model_sha256: str
    truth: str
    slice: str  # of the request, as told with the label; empty when nobody said
    time_s: float  # when the label came, in seconds since 1970


def opened(rehearsal: bool) -> "Journal":
    """Open the journal; a rehearsal has none, nor has a server that may not write it."""
    try:
        return Journal(NOWHERE if rehearsal else JOURNAL)
    except (OSError, sqlite3.Error) as error:
        log.error("no journal", extra={"reason": str(error)})
        return Journal(NOWHERE)


class Journal:
    """A file that one thread writes; whoever answers requests never waits for it.

    Raises:
        OSError: there is no such folder, and it cannot be made.
        sqlite3.Error: the file is damaged, or may not be written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.executescript(TABLES)
        if "slice" not in [row[1] for row in self._db.execute("PRAGMA table_info(labels)")]:
            self._db.execute("ALTER TABLE labels ADD COLUMN slice DEFAULT ''")  # older than that
        self._thread, self._pending = ThreadPoolExecutor(1), list[Row]()
        self._share = 0 if path == NOWHERE else load_params().journal_share
        self._kept = load_scope().payloads

    def note(self, id: str, payload: bytes, prediction: Prediction, model_sha256: str) -> None:
        """Write a request down soon; what comes too fast is counted, and not waited for."""
        if crc32(id.encode()) >= self._share * 2**32:
            return  # the same ids on every server
        if len(self._pending) >= MAX_PENDING:
            return UNWRITTEN.inc()
        hashed = None if self._kept == "none" else hashlib.sha256(payload).hexdigest()
        kept = payload if self._kept == "all" else None
        label, confidence = prediction.label, prediction.confidence
        self._pending.append((id, time.time(), label, confidence, model_sha256, hashed, kept))

    async def label(self, id: str, truth: str, slice: str = "") -> Labelled | None:
        """Keep what was right; return what was answered, if that is known here."""
        return await self._do(lambda: self._label(id, truth, slice))

    async def forget(self, id: str) -> int:
        """Delete all that is known under an id, and return how many rows there were.

        What stays is the hash of the payload, under no id: see `REMEMBERED`.
        """
        rows = await self._do(lambda: self._forget(id))
        # What was deleted is still in the log of the database, until that begins anew.
        checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)"
        await asyncio.wrap_future(self._thread.submit(self._db.execute, checkpoint))
        return rows

    async def labelled(self, n: int) -> list[Labelled]:
        """Return the latest answers that have a label, oldest first."""
        query = f"{JOINED} ORDER BY l.time_s DESC LIMIT {n}"  # noqa: S608 (a number)
        rows = await self._do(lambda: self._db.execute(query).fetchall())
        return [Labelled(*row) for row in rows[::-1]]

    async def write(self) -> None:
        """Write what is pending every now and then, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await self._do(lambda: None)

    def close(self) -> None:
        """Write what is pending, and end."""
        self._thread.submit(self._write, self._pending).result()
        self._thread.shutdown()
        self._db.close()

    async def _do(self, work: Callable[[], Result]) -> Result:
        rows, self._pending = self._pending, []

        def written_first() -> Result:
            try:
                self._write(rows)
            except sqlite3.Error:  # a full disk, most likely: requests are answered all the same
                UNWRITTEN.inc(len(rows))
            with self._db:
                return work()

        return await asyncio.wrap_future(self._thread.submit(written_first))

    def _write(self, rows: list[Row]) -> None:
        params = load_params()
        oldest_s = time.time() - 86_400 * params.journal_days
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO requests VALUES (?,?,?,?,?,?,?)", rows)
            for table in ("requests", "labels"):
                self._db.execute(f"DELETE FROM {table} WHERE time_s < ?", (oldest_s,))  # noqa: S608
        while self._bytes() > 1e6 * params.journal_mb:
            if not (self._shortened("requests") or self._shortened("labels")):
                break

    def _shortened(self, table: str) -> bool:
        with self._db:
            return self._db.execute(OLDEST_GO.format(table), (AT_ONCE,)).rowcount > 0

    def _bytes(self) -> int:
        """Return how much of the file is in use; what was deleted is used again."""
        names = ("page_count", "freelist_count", "page_size")
        pages, free, size = (self._db.execute(f"PRAGMA {n}").fetchone()[0] for n in names)
        return int((pages - free) * size)

    def _label(self, id: str, truth: str, slice: str) -> Labelled | None:
        told = (id, time.time(), truth, slice)
        self._db.execute("INSERT OR REPLACE INTO labels VALUES (?,?,?,?)", told)
        row = self._db.execute(f"{JOINED} WHERE id = ?", (id,)).fetchone()
        return Labelled(*row) if row else None

    def _forget(self, id: str) -> int:
        tables = ("requests", "labels")
        self._db.execute(REMEMBERED, (id,))
        return sum(
            self._db.execute(f"DELETE FROM {table} WHERE id = ?", (id,)).rowcount  # noqa: S608
            for table in tables
        )
