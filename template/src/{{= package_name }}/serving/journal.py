"""The journal: an SQLite file of requests, predictions, and labels that arrive later.

`payloads` in `scope.yaml` sets how payloads are stored: `none`, `hashed` or `all`.
`journal_days` and `journal_mb` in `params.yaml` limit the age and the size of the file.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from uuid import uuid4
from zlib import crc32

from prometheus_client import Counter

from ..monitoring.keyed_hash import hash_payload
from ..predictor import Prediction
from ..problem.answer import Head, to_journal
from ..scope import load_params, load_scope
from .journal_file import IN_MEMORY, JournalFile, LabelledPrediction, Row, Telling

JOURNAL = Path("data/journal.db")
# A crash loses at most this much. All rows of that time are written in one transaction.
WRITE_EVERY_S = 0.2
# Several seconds of peak traffic, in case the disk stalls.
MAX_PENDING = 10_000
MAX_PENDING_BYTES = 32_000_000  # of payloads, which fits into the memory of a server in deploy/
ERASE_EVERY_S = 10
DROPPED = Counter("journal_dropped", "Predictions that were not written to the journal")
FAILED_WRITES = Counter("journal_failed_writes", "Writes to the journal that failed")
log = logging.getLogger(__package__)
Result = TypeVar("Result")


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
        OSError, sqlite3.Error: see `JournalFile`.
    """

    def __init__(self, path: Path) -> None:
        self._file = JournalFile(path, _report_damage)
        self._thread = ThreadPoolExecutor(1, "journal")
        self._thread.submit(self._file.load_ids)
        self._pending: dict[str, Row] = {}
        self._pending_bytes = 0
        self._writing: dict[str, Row] = {}
        self._recent: dict[str, int] = {}  # hashes of payloads, by the id that a client gave
        self._is_failing = False
        self._must_erase = False
        self._share = 0 if path == IN_MEMORY else load_params().journal_share
        self._payloads = load_scope().payloads

    def note(
        self, id: str, payload: bytes, prediction: Prediction, model_sha256: str, is_new: bool
    ) -> str:
        """Queue a request for writing; count it as dropped if too many are pending.

        Returns the id of the row. It differs from `id` if another payload has that: clients choose
        ids, and a label must not move to another request. `is_new` tells that this cannot be.
        """
        if crc32(id.encode()) >= self._share * 2**32:
            return id  # by id: all servers record the same requests
        if not is_new:
            fingerprint = hash(payload)  # with a secret of this process; it is not stored
            if self._recent.get(id) == fingerprint:
                return id  # a client that tries again
            id = uuid4().hex if self._is_taken(id) else id
            self._remember(id, fingerprint)
        stored = payload if self._payloads == "all" else None
        size = len(stored or b"")
        if len(self._pending) >= MAX_PENDING or self._pending_bytes + size > MAX_PENDING_BYTES:
            DROPPED.inc()
            self._recent.pop(id, None)
            return id
        hashed = None if self._payloads == "none" else hash_payload(self._file.key, payload)
        label, confidence = to_journal(prediction.answer)
        self._pending_bytes += size
        self._pending[id] = (
            id,
            self._file.now_s(),
            label,
            confidence,
            model_sha256,
            hashed,
            stored,
        )
        return id

    async def label(self, id: str, truth: str, slice: str, heads: dict[str, Head]) -> Telling:
        """Store the correct label of a request; a later label replaces an earlier one.

        Raises:
            UnknownLabel: the prediction is of a model in `heads` that lacks this label.
            sqlite3.Error: the file cannot be written now.
        """
        return await self._do(lambda: self._file.set_label(id, truth, slice, heads))

    async def forget(self, id: str) -> tuple[int, str]:
        """Delete all data of a request.

        Returns the number of rows, and why something of them is left for now, or an empty string.
        The keyed hash of the payload is kept without the id: see `REMEMBER_FORGOTTEN`.

        Raises:
            sqlite3.Error: the file cannot be written now.
        """
        self._recent.pop(id, None)
        rows = await self._do(lambda: self._file.forget(id))
        # Until a checkpoint, the write-ahead log still contains deleted rows.
        self._must_erase = not await self._run(self._file.erase)
        if self._must_erase:
            return rows, "another process reads the journal; the file is cleaned once it has ended"
        if self._file.damaged.exists():
            return rows, f"{self._file.damaged} may have a copy: delete that file"
        return rows, ""

    async def read_labelled(self, n: int, model_sha256: str) -> list[LabelledPrediction]:
        """Return the latest `n` labelled predictions of a model, oldest first."""
        return await self._do(lambda: self._file.read_labelled(n, model_sha256))

    async def write_regularly(self) -> None:
        """Write pending rows every `WRITE_EVERY_S`, until cancelled."""
        erase_at_s = 0.0
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await self._do(lambda: None)
                if self._must_erase and time.monotonic() > erase_at_s:
                    erase_at_s = time.monotonic() + ERASE_EVERY_S
                    self._must_erase = not await self._run(self._file.erase)
            except sqlite3.Error as error:  # full or locked: the rows are tried again
                if not self._is_failing:
                    log.error("cannot write the journal", extra={"reason": str(error)})
                self._is_failing = True
            else:
                self._is_failing = False

    def take_change(self) -> bool:
        """Return whether rows were deleted since the last call."""
        is_changed, self._file.is_changed = self._file.is_changed, False
        return is_changed

    def close(self) -> None:
        """Write pending rows, then stop the thread and close the file."""
        try:
            self._thread.submit(self._file.write, [*self._pending.values()]).result()
        except (OSError, sqlite3.Error) as error:
            DROPPED.inc(len(self._pending))
            log.error("cannot write the journal", extra={"reason": str(error)})
        self._thread.shutdown()
        self._file.close()

    def _remember(self, id: str, fingerprint: int) -> None:
        self._recent[id] = fingerprint
        if len(self._recent) > MAX_PENDING:
            del self._recent[next(iter(self._recent))]

    def _is_taken(self, id: str) -> bool:
        return id in self._pending or id in self._writing or self._file.is_taken(id)

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.wrap_future(self._thread.submit(work))

    async def _do(self, work: Callable[[], Result]) -> Result:
        """Write the pending rows, then run a transaction.

        Raises:
            sqlite3.Error: one of the two failed; the rows are pending again.
        """
        rows, self._pending, self._pending_bytes = self._pending, {}, 0
        self._writing |= rows
        is_written = False

        def write_first() -> Result:
            nonlocal is_written
            self._file.write(rows.values())
            is_written = True
            return self._file.run(work)

        try:
            return await self._run(write_first)
        finally:
            for id in rows:
                self._writing.pop(id, None)
            if not is_written:
                FAILED_WRITES.inc()
                self._keep(rows)

    def _keep(self, rows: dict[str, Row]) -> None:
        """Put rows back that were not written, as far as there is room; count the others."""
        for id, row in rows.items():
            size = len(row[-1] or b"")
            if len(self._pending) < MAX_PENDING and self._pending_bytes + size < MAX_PENDING_BYTES:
                self._pending[id] = row
                self._pending_bytes += size
            else:
                DROPPED.inc()


def _report_damage(error: Exception) -> None:
    extra = {"reason": str(error), "kept": f"{JOURNAL}.damaged"}
    log.error("the journal is damaged; starting a new one", extra=extra)
