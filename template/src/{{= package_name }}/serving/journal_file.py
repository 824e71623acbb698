"""The SQLite file of the journal: its tables, and its limits on age and size.

A file that SQLite cannot read is renamed to `journal.db.damaged`, and a new one is started.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from prometheus_client import Counter

from ..atomic import make_private
from ..monitoring.keyed_hash import add_keys, load_database_key
from ..problem.answer import CONFIDENCE_TYPE, Head, find_fault, read
from ..refusal import Refusal
from ..scope import load_params
from .id_filter import IdFilter

IN_MEMORY = Path(":memory:")
IN_MEMORY_MB = 8  # a journal that cannot be written must not fill the memory of the server
OPEN_S = 10
LOCKED_S = 2  # a backup may hold the lock for a moment; clients of `/feedback` wait meanwhile
# Errors of SQLite for a file that is damaged, no database, or from another program.
DAMAGED = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_NOTADB,
}
DAMAGES = Counter("journal_damaged", "Journals that were damaged and replaced by a new one")
CLOCK_STEPS = Counter("clock_steps", "Steps of the system clock, each followed after 1 h")
log = logging.getLogger(__package__)
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
# An id may be written twice after a failed write: the rows are equal then.
ADD = "INSERT OR REPLACE INTO requests VALUES (?,?,?,?,?,?,?)"
# A corrected label keeps its place: a restart shows the same window of latest labels.
SET_LABEL = """INSERT INTO labels VALUES (?,?,?,?) ON CONFLICT (id) DO UPDATE
SET time_s = excluded.time_s, label = excluded.label, slice = excluded.slice"""
LABELLED = f"""SELECT id, r.label, r.confidence, r.model_sha256, l.label, l.slice, l.time_s
FROM labels l JOIN requests r USING (id)
WHERE typeof(r.confidence) = '{CONFIDENCE_TYPE}' AND typeof(l.label) = 'text' AND """  # noqa: S608 (a constant)
IS_TAKEN = """SELECT EXISTS (SELECT 1 FROM requests WHERE id = ?1)
OR EXISTS (SELECT 1 FROM labels WHERE id = ?1)"""
# Keep the hash of a deleted payload: `make feedback` then removes the example made from it.
REMEMBER_FORGOTTEN = """INSERT OR IGNORE INTO forgotten
SELECT payload_sha256 FROM requests WHERE id = ? AND payload IS NOT NULL"""
DELETE_OLD = """DELETE FROM {0} WHERE rowid IN
(SELECT rowid FROM {0} WHERE time_s < ? AND rowid <= ? ORDER BY time_s LIMIT ?)"""
ROWS_PER_DELETE = 10  # a payload may have several megabytes
DELETE_REQUESTS = f"""DELETE FROM requests WHERE rowid IN
(SELECT rowid FROM requests ORDER BY time_s LIMIT {ROWS_PER_DELETE})"""  # noqa: S608 (a number)
# Labels of unknown or deleted requests are of no use.
DELETE_LABELS = """DELETE FROM labels WHERE rowid IN (SELECT l.rowid FROM labels l WHERE NOT EXISTS
(SELECT 1 FROM requests r WHERE r.id = l.id) ORDER BY l.rowid LIMIT 100)"""
PRUNE_EVERY_S = 60
# A wrong clock must not empty the journal. After a step of the clock, or a start far from the
# newest row, nothing is deleted for an hour; then the old rows go in portions. A portion is 4 times
# what falls due in a minute of steady traffic, so that deletion still keeps up.
STEP_S = 60
FAR_S = 86_400
SETTLE_S = 3600
MIN_PORTION = 100
Row = tuple[str, float, str, float | None, str, str | None, bytes | None]
Result = TypeVar("Result")


class LabelledPrediction(NamedTuple):
    """A prediction and its correct label."""

    id: str
    prediction: str
    confidence: float | None
    model_sha256: str
    truth: str
    slice: str  # sent with the label; may be empty
    time_s: float  # when the label arrived, in seconds since 1970


class Telling(NamedTuple):
    """A stored label: with its prediction, if that is known, and the label it replaces, if any."""

    labelled: LabelledPrediction | None
    earlier: str | None


class UnknownLabel(ValueError):
    """The model that made the prediction has other labels."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__("not a label of the model that made the prediction")
        self.refusal = refusal


class JournalFile:
    """The database. One thread uses it, except for `is_taken`.

    Raises:
        OSError: the file cannot be created or replaced.
        sqlite3.Error: it is read-only, locked, or damaged and cannot be replaced.
    """

    def __init__(self, path: Path, on_damage: Callable[[Exception], None]) -> None:
        self.path = path
        self.damaged = path.with_name(f"{path.name}.damaged")
        self.is_changed = False  # whether rows were deleted since the last refresh of the windows
        self._on_damage = on_damage
        self.key = load_database_key(path)
        self._ids = IdFilter()
        self._has_ids = False
        self._db = self._replace_if_damaged(self._open)

    def run(self, work: Callable[[], Result]) -> Result:
        """Run a transaction; if the file is damaged, once more with a new file."""

        def transact() -> Result:
            with self._db:
                return work()

        return self._replace_if_damaged(transact)

    def write(self, rows: Collection[Row]) -> None:
        """Add rows, then delete rows that exceed the limits on age and size."""
        self.run(lambda: self._db.executemany(ADD, rows))
        for row in rows:
            self._ids.add(row[0])
        self.run(self._prune_by_age)
        mb = IN_MEMORY_MB if self.path == IN_MEMORY else load_params().journal_mb
        while self._bytes() > 1e6 * mb:
            if not (self.run(self._prune_labels) or self.run(self._prune_requests)):
                break

    def set_label(self, id: str, truth: str, slice: str, heads: dict[str, Head]) -> Telling:
        """Store a label, in a transaction of `run`.

        Raises:
            UnknownLabel: `heads` has the model, but without this label.
        """
        model = self._db.execute("SELECT model_sha256 FROM requests WHERE id = ?", (id,)).fetchone()
        head = heads.get(model[0]) if model else None
        if head and (fault := find_fault(read(truth), [head])):
            raise UnknownLabel(fault)
        earlier = self._db.execute("SELECT label FROM labels WHERE id = ?", (id,)).fetchone()
        self._ids.add(id)
        self._db.execute(SET_LABEL, (id, self.now_s(), truth, slice))
        row = self._db.execute(f"{LABELLED} id = ?", (id,)).fetchone()
        return Telling(LabelledPrediction(*row) if row else None, earlier[0] if earlier else None)

    def read_labelled(self, n: int, model_sha256: str) -> list[LabelledPrediction]:
        """Return the latest `n` labelled predictions of a model, oldest first."""
        query = f"{LABELLED} r.model_sha256 = ? ORDER BY l.rowid DESC LIMIT ?"
        rows = self._db.execute(query, (model_sha256, n)).fetchall()
        return [LabelledPrediction(*row) for row in rows[::-1]]

    def forget(self, id: str) -> int:
        """Delete all data of a request, in a transaction of `run`; return the number of rows."""
        self._db.execute(REMEMBER_FORGOTTEN, (id,))
        return sum(
            self._db.execute(f"DELETE FROM {table} WHERE id = ?", (id,)).rowcount  # noqa: S608
            for table in ("requests", "labels")
        )

    def erase(self) -> bool:
        """Remove deleted rows from the write-ahead log; return whether nothing was in the way."""
        try:
            return not self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.Error:
            return False

    def load_ids(self) -> None:
        """Read all ids into memory, so that `is_taken` seldom has to look at the file."""
        query = "SELECT id FROM requests UNION ALL SELECT id FROM labels"
        for (id,) in self._db.execute(query):
            self._ids.add(id)
        self._has_ids = True

    def is_taken(self, id: str) -> bool:
        """Return whether there is a request or a label with this id. For the event loop."""
        if self._has_ids and id not in self._ids:
            return False
        try:
            return bool(self._reader.execute(IS_TAKEN, (id,)).fetchall()[0][0])
        except sqlite3.Error:
            return True  # a new id is always right

    def close(self) -> None:
        self._reader.close()  # first: the last connection empties the write-ahead log
        self._db.close()

    def _open(self) -> sqlite3.Connection:
        if self.path != IN_MEMORY:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            make_private(self.path)  # it may hold payloads
        db = sqlite3.connect(self.path, timeout=OPEN_S, check_same_thread=False)
        db.text_factory = lambda text: text.decode(errors="replace")
        db.executescript(TABLES)
        if "slice" not in [row[1] for row in db.execute("PRAGMA table_info(labels)")]:
            db.execute("ALTER TABLE labels ADD COLUMN slice DEFAULT ''")  # from 0.1.0
        add_keys(db, self.key, ("requests", "forgotten"))
        db.execute(f"PRAGMA busy_timeout = {1000 * LOCKED_S}")
        # Requests look up ids on the event loop: with the write-ahead log, reading never waits.
        self._reader = sqlite3.connect(self.path, timeout=0, check_same_thread=False)
        if self.path == IN_MEMORY:
            self._reader.executescript(TABLES)
        self._reader.execute(IS_TAKEN, ("",)).fetchall()
        self._start_clock(db)
        return db

    def _replace_if_damaged(self, work: Callable[[], Result]) -> Result:
        try:
            return work()
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None) or 0
            if code & 0xFF not in DAMAGED or self.path == IN_MEMORY:
                raise
            reason = error
        with suppress(AttributeError, sqlite3.Error):  # not open yet
            self.close()
        try:
            for suffix in ("-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            self.path.replace(self.damaged)
        except OSError as error:
            raise sqlite3.OperationalError(f"{reason}, and cannot rename it: {error}") from None
        self._db = self._open()
        DAMAGES.inc()
        self._on_damage(reason)
        self.is_changed = True
        return self._db if work == self._open else work()  # type: ignore[return-value]

    def now_s(self) -> float:
        """Return the Unix time; after a step of the clock, the time by the monotonic clock."""
        now_s, expected_s = time.time(), self._clock_s + time.monotonic()
        return now_s if abs(now_s - expected_s) <= STEP_S else expected_s

    def _start_clock(self, db: sqlite3.Connection) -> None:
        """Remember which rows are older than this process, and whether the clock agrees."""
        now_s, wall_s = time.monotonic(), time.time()
        self._opened_s = self._prune_at_s = self._trusted_from_s = now_s
        self._earlier = {}
        newest_s = 0.0
        for table in ("requests", "labels"):
            query = f"SELECT max(rowid), max(time_s) FROM {table}"  # noqa: S608 (a fixed name)
            last, time_s = db.execute(query).fetchone()
            self._earlier[table] = last or 0
            newest_s = max(newest_s, time_s if isinstance(time_s, float) else 0)
        self._clock_s = max(wall_s, newest_s) - now_s
        if newest_s and abs(wall_s - newest_s) > FAR_S:
            self._trusted_from_s = now_s + SETTLE_S

    def _prune_by_age(self) -> None:
        now_s, age_s = time.monotonic(), 86_400 * load_params().journal_days
        if now_s < self._prune_at_s:
            return
        self._prune_at_s = now_s + PRUNE_EVERY_S
        is_settled = now_s >= self._trusted_from_s
        clock_s = time.time() - now_s
        if abs(clock_s - self._clock_s) > STEP_S:
            if is_settled and self._trusted_from_s > self._opened_s:
                self._clock_s = clock_s  # it has differed for an hour
            elif is_settled:
                self._trusted_from_s = now_s + SETTLE_S
                CLOCK_STEPS.inc()
                by_s = round(clock_s - self._clock_s)
                log.warning("the system clock has stepped", extra={"by_s": by_s})
            return
        if not is_settled:
            return
        self._trusted_from_s = self._opened_s
        is_young = now_s - self._opened_s < age_s  # rows of this process cannot be old yet
        for table, earlier in self._earlier.items():
            last = self._db.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0  # noqa: S608
            portion = max(MIN_PORTION, int(last * min(1, 4 * PRUNE_EVERY_S / age_s)))
            values = (time.time() - age_s, earlier if is_young else last, portion)
            self.is_changed |= self._db.execute(DELETE_OLD.format(table), values).rowcount > 0

    def _prune_labels(self) -> bool:
        return self._db.execute(DELETE_LABELS).rowcount > 0

    def _prune_requests(self) -> bool:
        self.is_changed = True
        return self._db.execute(DELETE_REQUESTS).rowcount > 0

    def _bytes(self) -> int:  # without free pages, which SQLite reuses
        names = ("page_count", "freelist_count", "page_size")
        pages, free, size = (self._db.execute(f"PRAGMA {n}").fetchone()[0] for n in names)
        return int((pages - free) * size)
