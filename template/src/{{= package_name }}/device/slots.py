"""Which model a device runs: `data/models/state.json`, and one folder per release beside it.

There are two slots: `good` is the release that runs, `trial` a newer one that has to prove itself.
Either may be empty. A release is a folder named by its id, a hash of its content.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from ..atomic import to_json, write_atomic

SLOTS = Path("data/models")
STATE_PATH = SLOTS / "state.json"


class SlotState(BaseModel):
    """The content of `state.json`. `bad` are releases that failed their trial; none runs again."""

    good: str = ""
    trial: str = ""
    starts: int = 0  # of the trial
    bad: list[str] = []
    checked_at: float = 0  # when the newest release was last known, in s since 1970


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Let one process at a time in. The kernel drops the lock when its process ends."""
    SLOTS.mkdir(parents=True, exist_ok=True)
    with (SLOTS / f".{name}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_state() -> SlotState:
    """Return the state; an empty one where the file is missing or the disk damaged it."""
    try:
        return SlotState.model_validate_json(STATE_PATH.read_bytes())
    except (OSError, ValidationError):
        return SlotState()  # the installed model answers, and the release is fetched again


@contextmanager
def edit_state() -> Iterator[SlotState]:
    """Yield the state for changes, and write it if there are any.

    The loop and the `update` process both change it, hence the lock.
    """
    with lock("state"):
        for draft in SLOTS.glob(".part-*"):  # left by a process that was killed while writing
            draft.unlink()
        state = read_state()
        yield state
        if state != read_state():
            write_atomic(STATE_PATH, to_json(state.model_dump()))
