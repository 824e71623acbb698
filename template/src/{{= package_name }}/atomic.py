"""Write files so that a reader finds all of a file or none, even after a power cut."""

import json
import os
from pathlib import Path
from uuid import uuid4


def to_json(content: object) -> bytes:
    """Return content as canonical JSON: the same bytes for the same content, to hash or sign."""
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def write_atomic(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Replace a file by new content.

    The content goes to a draft beside the file and is flushed to disk before the draft takes the
    file's name. Raises OSError, and leaves the old file, if that fails.
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
    """Rename a finished file or folder, and flush its new name to disk as well."""
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
