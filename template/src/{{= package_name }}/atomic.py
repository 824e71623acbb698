"""Atomic file writes: a reader finds the old or the new content, even after a power cut."""

import json
import os
from pathlib import Path
from uuid import uuid4


def to_json(content: object) -> bytes:
    """Return canonical JSON: equal content has equal bytes, to be hashed or signed."""
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def write_atomic(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Replace the content of a file.

    The content is written to a temporary file in the same folder and flushed to disk, before that
    is renamed. If this fails, it raises OSError and the old file stays.
    """
    draft = path.with_name(f".part-{uuid4().hex}")
    try:
        with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:  # noqa: PTH123
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        replace_durably(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def replace_durably(draft: Path, path: Path) -> None:
    """Rename a complete file or folder, and flush the new name to disk."""
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def make_private(path: Path) -> None:
    """Create a file, if there is none, that only its owner may read."""
    path.touch(mode=0o600)
    path.chmod(0o600)
