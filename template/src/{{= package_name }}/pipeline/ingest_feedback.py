"""Turn labelled requests in the journals of servers into examples."""

import hashlib
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from ..atomic import write_atomic
from ..examples import Example, digest, read_shards, write_shards
from ..monitoring.keyed_hash import PREFIX, hash_again, key_of
from ..predictor import prepare
from ..problem import answer
from ..problem import data as problem_data
from ..refusal import Refusal
from ..schema import SCHEMA, load_schema
from .ingest import FEEDBACK

JOURNALS = "data/journal*.db"
QUERY = """SELECT l.time_s, r.payload, l.label FROM labels l JOIN requests r USING (id)
WHERE r.payload IS NOT NULL"""
FORGOTTEN = "SELECT payload_sha256 FROM forgotten"


def feedback() -> None:
    """Update `data/feedback` from all journals in `data/`.

    The hash of the payload is the id of an example: the same payload is one example, with its
    latest label, and always in the same split. Payloads whose deletion was requested are removed,
    and never added again.

    Raises:
        SystemExit: there are no labelled payloads, neither in the journals nor from before.
    """
    journals = sorted(Path().glob(JOURNALS))
    rows = sorted(row for path in journals for row in _rows(path, QUERY))
    latest = {payload: (label, time_s) for time_s, payload, label in rows}
    labelled = [
        Example(_id(payload), payload, label, "feedback", group=f"{time_s:.0f}")
        for payload, (label, time_s) in latest.items()
    ]
    valid = [example for example in labelled if _is_valid(example)]
    before = {e.id: e for e in read_shards(FEEDBACK)} if any(FEEDBACK.glob("*.parquet")) else {}
    if not (valid or before):
        why = "set `payloads: all` in scope.yaml, and send labels to `/feedback`"
        raise SystemExit(f"No labelled payloads in {JOURNALS}: {why}.")
    known = before | {example.id: example for example in valid}
    forgotten = {id for path in journals for id in _find_forgotten(path, known)}
    examples = [known[id] for id in sorted(known.keys() - forgotten)]
    write_shards(examples, FEEDBACK)
    _record(digest(examples) if examples else '""')
    new, gone = len(known.keys() - before.keys() - forgotten), len(before.keys() & forgotten)
    print(f"{len(examples)} examples in {FEEDBACK}, {new} of them new, {gone} removed:")
    for counts in problem_data.summarize([example.label for example in examples]).values():
        print("  " + ", ".join(f"{name} {n}" for name, n in counts.items()))
    if skipped := len(labelled) - len(valid):
        print(f"  {skipped} skipped: the current schema.yaml rejects their label or payload")


def _find_forgotten(journal: Path, ids: Iterable[str]) -> set[str]:
    """Return the ids whose payloads were deleted from a journal.

    Raises:
        SystemExit: the file with the key of their hashes is missing.
    """
    hashes = {hash for (hash,) in _rows(journal, FORGOTTEN)}
    if not hashes:
        return set()
    try:
        key = key_of(journal).read_bytes()
    except OSError:
        if any(str(hash).startswith(PREFIX) for hash in hashes):
            wrong = f"{journal} lists deleted payloads, but {key_of(journal)} is missing"
            raise SystemExit(f"{wrong}. Copy it from the server, too.") from None
        key = b""
    return {
        id
        for id in ids
        for hash in [id.removeprefix("feedback-")]
        if hash in hashes or hash_again(key, hash) in hashes
    }


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            if query == FORGOTTEN and not db.execute("PRAGMA table_info(forgotten)").fetchall():
                return []  # written before deletion existed
            return db.execute(query).fetchall()
    except sqlite3.Error as error:
        raise SystemExit(f"{path} cannot be read ({error}): copy it again.") from None


def _is_valid(example: Example) -> bool:
    try:
        prepare(example.payload)
    except Refusal:
        return False
    head = answer.fit_head([], load_schema())
    return not answer.find_fault(answer.read(example.label), [head])


def _id(payload: bytes) -> str:
    return f"feedback-{hashlib.sha256(payload).hexdigest()}"


def _record(sha256: str) -> None:
    """Change one line of `schema.yaml`; keep comments and all other lines."""
    line = f"feedback_sha256: {sha256}"
    text, count = re.subn(r"(?m)^feedback_sha256: .*$", line, SCHEMA.read_text())
    write_atomic(SCHEMA, (text if count else f"{text.rstrip()}\n{line}\n").encode())
