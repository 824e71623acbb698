"""The SQLite file of an outbox: its tables, and pages that are allocated in advance."""

import sqlite3

from .sqlite_file import Damaged, check_content

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
TABLES = """
CREATE TABLE IF NOT EXISTS waiting (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS dropped AS SELECT 0 AS total;
CREATE TABLE IF NOT EXISTS spare AS SELECT 0 AS content;
CREATE TABLE IF NOT EXISTS reserve (content);
"""
COLUMNS = {"waiting": ["seq", "id", "body"], "dropped": ["total"], "spare": ["content"]}


def count_pages(max_mb: float) -> int:
    """Return how many pages fit into a file that takes `max_mb` MB together with its log."""
    return int(max_mb * 1e6 - LOG_BYTES - INDEX_BYTES) // PAGE_BYTES


def prepare(db: sqlite3.Connection, pages: int) -> None:
    """Check the content of a file, and allocate its pages.

    Raises:
        sqlite3.DatabaseError: it is damaged, has other tables, or the disk has no room for it.
    """
    check_content(db)
    _reserve(db, pages)
    for table, expected in COLUMNS.items():
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})").fetchall()]
        if columns != expected:
            raise Damaged(f"the table {table} has other columns")
    if db.execute("SELECT count(*) FROM dropped").fetchone() != (1,):
        raise Damaged("the table dropped does not have one row")


def _reserve(db: sqlite3.Connection, pages: int) -> None:
    """Extend the file with a blob and delete the blob: its pages stay allocated."""
    db.execute("PRAGMA synchronous=FULL")  # NORMAL would lose commits in a power cut
    if pages - _page_count(db) > LOG_PAGES:  # a new file, or a larger cap
        # In WAL mode the blob would also be written to the log.
        db.execute("PRAGMA journal_mode=DELETE")
        db.executescript(TABLES)
        blob_pages = pages - _page_count(db) - 2  # stay below the cap
        db.execute("INSERT INTO reserve VALUES (zeroblob(?))", (blob_pages * BLOB_BYTES_PER_PAGE,))
    db.execute("DROP TABLE IF EXISTS reserve")
    db.execute(f"PRAGMA max_page_count={_page_count(db)}")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
    db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")


def _page_count(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA page_count").fetchone()[0])
