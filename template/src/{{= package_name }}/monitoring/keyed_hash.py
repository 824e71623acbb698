"""Keyed hashes of payloads.

A plain hash is personal data: from the hash of a row of a table, unknown columns can be guessed in
less than a second. With a key that stays on the machine, others cannot try.
"""

import hmac
import secrets
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path

from ..atomic import write_atomic

PREFIX = "hmac-"
KEY_BYTES = 32


def load_key(path: Path) -> bytes:
    """Read the key of this machine; create it if there is none, or if the file is damaged.

    A key that cannot be written lasts as long as the process.
    """
    with suppress(OSError):
        key = path.read_bytes()
        if len(key) == KEY_BYTES:
            return key
    key = secrets.token_bytes(KEY_BYTES)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, key, mode=0o600)
    return key


def hash_payload(key: bytes, payload: bytes) -> str:
    return hash_again(key, sha256(payload).hexdigest())


def hash_again(key: bytes, payload_sha256: str) -> str:
    """Return the keyed hash of a payload, from its SHA-256 in hexadecimal digits."""
    return PREFIX + hmac.digest(key, payload_sha256.encode(), "sha256").hex()


def load_database_key(database: Path) -> bytes:
    """Read or create the key of a database; in memory, it lasts as long as the process."""
    in_memory = database.name == ":memory:"
    return secrets.token_bytes(KEY_BYTES) if in_memory else load_key(key_of(database))


def add_keys(db: sqlite3.Connection, key: bytes, tables: Iterable[str]) -> None:
    """Replace the plain hashes of versions before 0.5.0, in the column `payload_sha256`."""
    db.create_function("add_key", 1, partial(hash_again, key), deterministic=True)
    for table in tables:
        db.execute(
            f"UPDATE OR REPLACE {table} SET payload_sha256 = add_key(payload_sha256) "  # noqa: S608
            f"WHERE payload_sha256 NOT LIKE '{PREFIX}%'"
        )
    db.commit()


def key_of(database: Path) -> Path:
    """Return the file with the key of a database."""
    return database.with_suffix(".key")
