"""Which release a device answers with: one is good, or none yet, and a newer one may be on trial.

A release is a folder named by its id, a hash of all that is in it.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from ..artifacts import to_json, write_whole

SLOTS = Path("data/models")
STATE = SLOTS / "state.json"


class State(BaseModel):
    """What `state.json` holds: ids of releases, and when the newest was known, s since 1970."""

    good: str = ""
    trial: str = ""
    starts: int = 0
    bad: list[str] = []
    checked_at: float = 0


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Let one process at a time in; the lock ends with its process, however that ends."""
    SLOTS.mkdir(parents=True, exist_ok=True)
    with (SLOTS / f".{name}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read_state() -> State:
    """Return what is in use; where nothing says so, or the disk spoiled it, nothing is."""
    try:
        return State.model_validate_json(STATE.read_bytes())
    except (OSError, ValidationError):
        return State()


@contextmanager
def changing() -> Iterator[State]:
    """Give the state to one process; what it changed is then written whole."""
    with alone("state"):
        for draft in SLOTS.glob(".part-*"):  # of whoever was killed while writing
            draft.unlink()
        yield (state := read_state())
        if state != read_state():
            write_whole(STATE, to_json(state.model_dump()))
