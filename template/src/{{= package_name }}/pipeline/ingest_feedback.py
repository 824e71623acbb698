"""Requests that were labelled become examples: what a server was sent is what training reads."""

import hashlib
import re
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from ..artifacts import write_whole
from ..examples import Example, read_shards, write_shards
from ..predictor import prepared
from ..refusal import Refusal
from ..schema import SCHEMA, load_schema
from .ingest import FEEDBACK, digest

JOURNALS = "data/journal*.db"
QUERY = """SELECT l.time_s, r.payload, l.label FROM labels l JOIN requests r USING (id)
WHERE r.payload IS NOT NULL"""
FORGOTTEN = "SELECT payload_sha256 FROM forgotten"


def feedback() -> None:
    """Bring `data/feedback` up to the journals, of one server or copied from several.

    The id of an example is the hash of its payload: one that came twice is one example, with the
    label that was told last, and it never changes between training and held-out data. A payload
    that somebody had deleted is taken out, and never taken in again.

    Raises:
        SystemExit: no labelled payload is kept there, and none was before.
    """
    journals = sorted(Path().glob(JOURNALS))
    rows = sorted(row for path in journals for row in _rows(path, QUERY))
    told = {payload: label for _, payload, label in rows}
    found = [Example(_id(payload), payload, label, "feedback") for payload, label in told.items()]
    fitting = [example for example in found if _fits(example)]
    before = {e.id: e for e in read_shards(FEEDBACK)} if any(FEEDBACK.glob("*.parquet")) else {}
    if not (fitting or before):
        why = "scope.yaml must say `payloads: all`, and clients have to tell labels (`/feedback`)"
        raise SystemExit(f"No labelled payload in {JOURNALS}: {why}.")
    forgotten = {f"feedback-{hash}" for path in journals for (hash,) in _rows(path, FORGOTTEN)}
    known = before | {example.id: example for example in fitting}
    examples = [known[id] for id in sorted(known.keys() - forgotten)]
    write_shards(examples, FEEDBACK)
    _record(digest(examples) if examples else '""')
    labels = Counter(example.label for example in examples)
    new, gone = len(known.keys() - before.keys() - forgotten), len(before.keys() & forgotten)
    print(f"{len(examples)} examples in {FEEDBACK}, {new} of them new, {gone} taken out:")
    print("  " + ", ".join(f"{label} {n}" for label, n in sorted(labels.items())))
    if left_out := len(found) - len(fitting):
        print(f"  {left_out} left out: their label or payload is not what schema.yaml allows now")


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            if query == FORGOTTEN and not db.execute("PRAGMA table_info(forgotten)").fetchall():
                return []  # of a server that could not forget yet
            return db.execute(query).fetchall()
    except sqlite3.Error as error:
        raise SystemExit(f"{path} cannot be read ({error}): copy it again.") from None


def _fits(example: Example) -> bool:
    try:
        prepared(example.payload)
    except Refusal:
        return False
    return example.label in load_schema().labels


def _id(payload: bytes) -> str:
    return f"feedback-{hashlib.sha256(payload).hexdigest()}"


def _record(sha256: str) -> None:
    """Change one line of `schema.yaml`, and leave what people wrote there."""
    text, line = SCHEMA.read_text(), f"feedback_sha256: {sha256}"
    text, found = re.subn(r"(?m)^feedback_sha256: .*$", line, text)
    write_whole(SCHEMA, (text if found else f"{text.rstrip()}\n{line}\n").encode())
