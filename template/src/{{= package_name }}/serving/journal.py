"""The journal: an SQLite file of requests, predictions, and labels that arrive later.

`payloads` in `scope.yaml` sets how payloads are stored: `none`, `hashed` or `all`.
`journal_days` and `journal_mb` in `params.yaml` limit the age and the size of the file.
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

JOURNAL = Path("data/journal.db")
IN_MEMORY = Path(":memory:")
# A crash loses at most this much. All rows of that time are written in one transaction.
WRITE_EVERY_S = 0.2
# Several seconds of peak traffic, in case the disk stalls.
MAX_PENDING = 10_000
DROPPED = Counter("journal_dropped", "Predictions that were not written to the journal")
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
# Keep the hash of a deleted payload: `make feedback` then removes the example made from it.
REMEMBER_FORGOTTEN = """INSERT OR IGNORE INTO forgotten
SELECT payload_sha256 FROM requests WHERE id = ? AND payload IS NOT NULL"""
ROWS_PER_DELETE = 10  # a payload may have several megabytes
DELETE_OLDEST = """DELETE FROM {0} WHERE id IN
(SELECT id FROM {0} ORDER BY time_s LIMIT ?)"""
JOIN = """SELECT id, r.label, r.confidence, r.model_sha256, l.label, l.slice, l.time_s
FROM labels l JOIN requests r USING (id)"""
log = logging.getLogger(__package__)
Result = TypeVar("Result")
Row = tuple[str, float, str, float, str, str | None, bytes | None]


class LabelledPrediction(NamedTuple):
    """A prediction and its correct label."""

    id: str
    prediction: str
    confidence: float
    model_sha256: str
    truth: str
    slice: str  # sent with the label; may be empty
    time_s: float  # when the label arrived, in seconds since 1970


def open_journal(is_rehearsal: bool) -> "Journal":
    """Open the journal: in memory for a rehearsal, or if the file cannot be written."""
    try:
        return Journal(IN_MEMORY if is_rehearsal else JOURNAL)
    except (OSError, sqlite3.Error) as error:
        log.error("cannot open the journal", extra={"reason": str(error)})
        return Journal(IN_MEMORY)


class Journal:
    """The journal file. A separate thread writes it, so requests never wait for the disk.

    Raises:
        OSError: the folder cannot be created.
        sqlite3.Error: the file is damaged or read-only.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.executescript(TABLES)
        if "slice" not in [row[1] for row in self._db.execute("PRAGMA table_info(labels)")]:
            self._db.execute("ALTER TABLE labels ADD COLUMN slice DEFAULT ''")  # from 0.1.0
        self._thread = ThreadPoolExecutor(1)
        self._pending: list[Row] = []
        self._share = 0 if path == IN_MEMORY else load_params().journal_share
        self._payloads = load_scope().payloads

    def note(self, id: str, payload: bytes, prediction: Prediction, model_sha256: str) -> None:
        """Queue a request for writing; count it as dropped if too many are pending."""
        if crc32(id.encode()) >= self._share * 2**32:
            return  # by id: all servers record the same requests
        if len(self._pending) >= MAX_PENDING:
            DROPPED.inc()
            return
        payload_sha256 = None if self._payloads == "none" else hashlib.sha256(payload).hexdigest()
        stored = payload if self._payloads == "all" else None
        label, confidence = prediction.label, prediction.confidence
        row = (id, time.time(), label, confidence, model_sha256, payload_sha256, stored)
        self._pending.append(row)

    async def label(self, id: str, truth: str, slice: str = "") -> LabelledPrediction | None:
        """Store the correct label of a request; return it with the prediction, if known."""
        return await self._do(lambda: self._label(id, truth, slice))

    async def forget(self, id: str) -> int:
        """Delete all data of a request; return the number of rows.

        The hash of its payload is kept without the id: see `REMEMBER_FORGOTTEN`.
        """
        rows = await self._do(lambda: self._forget(id))
        # Until a checkpoint, the write-ahead log still contains deleted rows.
        checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)"
        await asyncio.wrap_future(self._thread.submit(self._db.execute, checkpoint))
        return rows

    async def read_labelled(self, n: int) -> list[LabelledPrediction]:
        """Return the latest `n` labelled predictions, oldest first."""
        query = f"{JOIN} ORDER BY l.time_s DESC LIMIT {n}"  # noqa: S608 (a number)
        rows = await self._do(lambda: self._db.execute(query).fetchall())
        return [LabelledPrediction(*row) for row in rows[::-1]]

    async def write_regularly(self) -> None:
        """Write pending rows every `WRITE_EVERY_S`, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await self._do(lambda: None)

    def close(self) -> None:
        """Write pending rows, then stop the thread and close the file."""
        self._thread.submit(self._write, self._pending).result()
        self._thread.shutdown()
        self._db.close()

    async def _do(self, work: Callable[[], Result]) -> Result:
        rows, self._pending = self._pending, []

        def write_first() -> Result:
            try:
                self._write(rows)
            except sqlite3.Error:  # most likely a full disk; the server keeps serving
                DROPPED.inc(len(rows))
            with self._db:
                return work()

        return await asyncio.wrap_future(self._thread.submit(write_first))

    def _write(self, rows: list[Row]) -> None:
        params = load_params()
        oldest_s = time.time() - 86_400 * params.journal_days
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO requests VALUES (?,?,?,?,?,?,?)", rows)
            for table in ("requests", "labels"):
                self._db.execute(f"DELETE FROM {table} WHERE time_s < ?", (oldest_s,))  # noqa: S608
        while self._bytes() > 1e6 * params.journal_mb:
            if not (self._delete_oldest("requests") or self._delete_oldest("labels")):
                break

    def _delete_oldest(self, table: str) -> bool:
        """Delete the oldest rows of a table; return whether there were any."""
        with self._db:
            query = DELETE_OLDEST.format(table)
            return self._db.execute(query, (ROWS_PER_DELETE,)).rowcount > 0

    def _bytes(self) -> int:
        """Return the used size of the file: without free pages, which SQLite reuses."""
        names = ("page_count", "freelist_count", "page_size")
        pages, free, size = (self._db.execute(f"PRAGMA {n}").fetchone()[0] for n in names)
        return int((pages - free) * size)

    def _label(self, id: str, truth: str, slice: str) -> LabelledPrediction | None:
        label = (id, time.time(), truth, slice)
        self._db.execute("INSERT OR REPLACE INTO labels VALUES (?,?,?,?)", label)
        row = self._db.execute(f"{JOIN} WHERE id = ?", (id,)).fetchone()
        return LabelledPrediction(*row) if row else None

    def _forget(self, id: str) -> int:
        tables = ("requests", "labels")
        self._db.execute(REMEMBER_FORGOTTEN, (id,))
        return sum(
            self._db.execute(f"DELETE FROM {table} WHERE id = ?", (id,)).rowcount  # noqa: S608
            for table in tables
        )
