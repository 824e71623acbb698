"""Model slots of a device: `data/models/state.json`, and one folder per release next to it.

The slot `good` holds the last release that passed its trial, `trial` a newer one that is on trial.
Either may be empty. The name of a release folder is its id, a hash of its content.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from ..atomic import to_json, write_atomic
from .report import report_fault

SLOTS = Path("data/models")
STATE_PATH = SLOTS / "state.json"
CLOCK_TOLERANCE_S = 60


class SlotState(BaseModel):
    """The content of `state.json`. `bad` lists releases that failed their trial."""

    good: str = ""
    trial: str = ""
    starts: int = 0  # of the trial
    bad: list[str] = []
    checked_at: float = Field(default=0, allow_inf_nan=False)  # last successful check, in s


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold a lock between processes. The kernel releases it when the process ends."""
    SLOTS.mkdir(parents=True, exist_ok=True)
    with (SLOTS / f".{name}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_state() -> SlotState:
    """Return the state, or an empty one if the file is missing or damaged.

    A damaged file is set aside: the installed model runs until the release is fetched again.
    """
    try:
        return SlotState.model_validate_json(STATE_PATH.read_bytes())
    except OSError:
        return SlotState()
    except ValidationError as error:
        aside = STATE_PATH.with_name("state.json.damaged")
        with suppress(OSError):  # on a read-only disk it stays
            STATE_PATH.replace(aside)
            reason = error.errors()[0]["msg"]
            report_fault("file", f"{STATE_PATH} is damaged ({reason}). It is kept as {aside}.")
        return SlotState()


def last_check_s() -> float:
    """Return the time of the last successful update check; 0 if there is none.

    A time in the future comes from a clock that was wrong then.
    """
    checked_at = read_state().checked_at
    return checked_at if checked_at <= time.time() + CLOCK_TOLERANCE_S else 0


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
