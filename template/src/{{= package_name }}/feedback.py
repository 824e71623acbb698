"""Requests that were labelled become examples: what a server was sent is what training reads."""

import hashlib
import re
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

from .artifacts import write_whole
from .examples import Example, read_shards, write_shards
from .ingest import FEEDBACK, digest
from .predictor import prepared
from .refusal import Refusal
from .schema import SCHEMA, load_schema

JOURNALS = "data/journal*.db"
QUERY = """SELECT r.payload, l.label FROM labels l JOIN requests r USING (id)
WHERE r.payload IS NOT NULL ORDER BY l.time_s"""


def feedback() -> None:
    """Add what is in the journals, of one server or copied from several, to `data/feedback`.

    The id of an example is the hash of its payload: one that came twice is one example, with the
    label that was told last, and it never changes between training and held-out data.

    Raises:
        SystemExit: no labelled payload is kept there.
    """
    told = dict(pair for path in sorted(Path().glob(JOURNALS)) for pair in _labelled(path))
    found = [Example(_id(payload), payload, label, "feedback") for payload, label in told.items()]
    fitting = [example for example in found if _fits(example)]
    if not fitting:
        why = "scope.yaml must say `payloads: all`, and clients have to tell labels (`/feedback`)"
        raise SystemExit(f"No labelled payload in {JOURNALS}: {why}.")
    before = {e.id: e for e in read_shards(FEEDBACK)} if FEEDBACK.exists() else {}
    known = before | {example.id: example for example in fitting}
    examples = [known[id] for id in sorted(known)]
    write_shards(examples, FEEDBACK)
    _record(digest(examples))
    labels = Counter(example.label for example in examples)
    print(f"{len(examples)} examples in {FEEDBACK}, {len(known) - len(before)} of them new:")
    print("  " + ", ".join(f"{label} {n}" for label, n in sorted(labels.items())))
    if left_out := len(found) - len(fitting):
        print(f"  {left_out} left out: their label or payload is not what schema.yaml allows now")


def _labelled(path: Path) -> list[tuple[bytes, str]]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return db.execute(QUERY).fetchall()
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
