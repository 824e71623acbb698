"""The database of the collector: events of all devices, and the latest report of each."""

import json
import sqlite3
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import NamedTuple

from pydantic import ValidationError

from ..atomic import make_private
from ..device.report import log, report_fault
from ..device.sqlite_file import check_content, is_damage, set_aside
from ..device.wire_format import Event, Telemetry
from ..scope import load_params
from .clock import RetentionClock, SteadyClock

SAVE_DEVICE = """INSERT INTO devices VALUES (?, ?, ?) ON CONFLICT (device)
DO UPDATE SET seen_s = excluded.seen_s, telemetry = excluded.telemetry"""
SHOWN = """SELECT device, seen_s, telemetry FROM devices
ORDER BY device IN (SELECT value FROM json_each(?)) DESC, rowid LIMIT ?"""
# Runs with each batch. It deletes up to ten times the events of a batch, so it always catches up.
# That takes at most 0.1 s, for which a device waits.
DELETE_OLD = """DELETE FROM events WHERE rowid IN
(SELECT rowid FROM events WHERE received_s < ? ORDER BY received_s LIMIT 1000)"""
# A replay from before these restarts of a device would count as new.
MAX_RUNS = 200
DELETE_OLD_RUNS = """DELETE FROM runs WHERE device = ? AND rowid NOT IN
(SELECT rowid FROM runs WHERE device = ? ORDER BY rowid DESC LIMIT ?)"""
# A device that was set back to version 0.2 sends reports without a number. They count once the
# last report with a number is this old.
UNNUMBERED_AFTER_S = 600
CHECKED_MB = 100  # larger files are not checked at the start; that would take more than a second


class SeenDevice(NamedTuple):
    """The latest report of a device, and the seconds since it came."""

    telemetry: Telemetry
    age_s: float


class Store:
    """The database. A damaged file is set aside, at the start and later.

    Raises:
        sqlite3.Error: from each method, if the disk is full, for example.
    """

    def __init__(self, path: Path, tables: str) -> None:
        self._path = path
        self._tables = tables
        self._lock = RLock()
        self._seen_s: dict[str, float] = {}  # by the monotonic clock, of reports to this process
        self.stale_count = 0  # reports that were older than the last one
        self._open()

    def _open(self) -> None:
        try:
            self._connect()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self._replace(error)

    def _connect(self) -> None:
        with suppress(OSError):  # a read-only disk
            make_private(self._path)
        self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        if self._path.stat().st_size <= CHECKED_MB * 1e6:
            check_content(self._db)
        self._db.executescript(self._tables)
        query = "SELECT count(*), max(trusted_s), (SELECT max(received_s) FROM events) FROM clock"
        _, trusted_s, newest_s = self._db.execute(query).fetchone()
        self._clock = SteadyClock(newest_s or 0)
        self._retention = RetentionClock(trusted_s or 0, self._clock.now_s())
        (last,) = self._db.execute("SELECT ifnull(max(rowid), 0) FROM events").fetchone()
        self._first_row = last + 1  # of this process
        self._corrected_s = 0.0

    def _replace(self, error: sqlite3.Error) -> None:
        self._db.close()
        aside = set_aside(self._path)
        report_fault("file", f"{self._path} is damaged ({error}). It is kept as {aside}.")
        self._connect()

    def add(self, telemetry: Telemetry, events: list[Event]) -> None:
        """Store a batch. All of it is on disk when this returns, each event once.

        Events are deleted after `keep_days`; one that is sent again after that is stored again.
        """
        with self._lock:
            try:
                self._add(telemetry, events)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._replace(error)
                self._add(telemetry, events)

    def _add(self, telemetry: Telemetry, events: list[Event]) -> None:
        device = telemetry.device
        now_s = self._clock.now_s()
        keep_s = 86_400 * load_params().keep_days
        rows = [(device, event.id, now_s, json.dumps(event.decision)) for event in events]
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._correct_times()
            (oldest_s,) = self._db.execute("SELECT min(received_s) FROM events").fetchone()
            trusted_s = self._retention.advance(now_s, oldest_s or now_s)
            self._db.execute("UPDATE clock SET trusted_s = ?", (trusted_s,))
            self._db.execute(DELETE_OLD, (trusted_s - keep_s,))
            self._db.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?)", rows)
            is_newer = self._is_newer(telemetry)
            if is_newer:
                self._db.execute(SAVE_DEVICE, (device, now_s, telemetry.model_dump_json()))
                if telemetry.run:
                    run = (device, telemetry.run)
                    self._db.execute("INSERT OR IGNORE INTO runs VALUES (?, ?)", run)
                    self._db.execute(DELETE_OLD_RUNS, (device, device, MAX_RUNS))
        if is_newer:
            self._seen_s[device] = time.monotonic()
        else:
            self.stale_count += 1

    def _correct_times(self) -> None:
        """Shift the times of this process if its clock was not set when it started."""
        by_s = self._clock.corrected_by_s - self._corrected_s
        if by_s:
            log(f"The system clock is followed now: times since the start move by {by_s:.0f} s.")
            shift = "UPDATE events SET received_s = received_s + ? WHERE rowid >= ?"
            self._db.execute(shift, (by_s, self._first_row))
            self._corrected_s += by_s

    def _is_newer(self, telemetry: Telemetry) -> bool:
        """Return whether a report was made after the stored one, whatever the clocks say."""
        query = "SELECT telemetry FROM devices WHERE device = ?"
        row = self._db.execute(query, (telemetry.device,)).fetchone()
        last = _parse(row[0]) if row else None
        if last is None:
            return True
        if not telemetry.run:
            return not last.run or self._age_s(telemetry.device) > UNNUMBERED_AFTER_S
        if telemetry.run == last.run:
            return telemetry.number > last.number
        earlier = "SELECT 1 FROM runs WHERE device = ? AND run = ?"
        return not self._db.execute(earlier, (telemetry.device, telemetry.run)).fetchone()

    def _age_s(self, device: str, seen_s: float = 0) -> float:
        """Return the seconds since the last report; before this process, by the stored time."""
        if device in self._seen_s:
            return time.monotonic() - self._seen_s[device]
        return max(0.0, time.time() - seen_s)

    def devices(self, limit: int, known: Collection[str] = ()) -> tuple[int, list[SeenDevice]]:
        """Return the number of devices, and some: the known ones, then those that came first.

        Rows that are damaged are left out.
        """
        with self._lock:
            (count,) = self._db.execute("SELECT count(*) FROM devices").fetchone()
            rows = self._db.execute(SHOWN, (json.dumps([*known]), limit)).fetchall()
            return count, [
                SeenDevice(telemetry, self._age_s(device, seen_s))
                for device, seen_s, text in rows
                if (telemetry := _parse(text)) and isinstance(seen_s, int | float)
            ]

    def close(self) -> None:
        with self._lock, suppress(sqlite3.Error):
            self._db.close()


def _parse(text: object) -> Telemetry | None:
    try:
        return Telemetry.model_validate_json(str(text))
    except ValidationError:
        return None
