"""Model slots of a device: `data/models/state.json`, and one folder per release next to it.

The slot `good` holds the last release that passed its trial, `trial` a newer one that is on trial.
Either may be empty. The name of a release folder is its id, a hash of its content.
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
    """The content of `state.json`. `bad` lists releases that failed their trial."""

    good: str = ""
    trial: str = ""
    starts: int = 0  # of the trial
    bad: list[str] = []
    checked_at: float = 0  # last successful update check, in s since 1970


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold a lock between processes. The kernel releases it when the process ends."""
    SLOTS.mkdir(parents=True, exist_ok=True)
    with (SLOTS / f".{name}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_state() -> SlotState:
    """Return the state, or an empty one if the file is missing or damaged."""
    try:
        return SlotState.model_validate_json(STATE_PATH.read_bytes())
    except (OSError, ValidationError):
        return SlotState()  # the installed model runs until the release is fetched again


@contextmanager
def edit_state() -> Iterator[SlotState]:
    """Yield the state for editing, and write it if it changed.

    Locked, because both the loop and the `update` process edit it.
    """
    with lock("state"):
        for draft in SLOTS.glob(".part-*"):  # left by a process that was killed during a write
            draft.unlink()
        state = read_state()
        yield state
        if state != read_state():
            write_atomic(STATE_PATH, to_json(state.model_dump()))
