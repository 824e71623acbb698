"""Replaces the model of a running server when `releases/rollout.json` changes.

The new model is loaded while the old one keeps serving, and takes over after its warm-up.
"""

import asyncio
import sqlite3
import time
from contextlib import suppress

from prometheus_client import Counter, Gauge

from ..releases.registry import ROLLOUT, read_rollout
from .canary import SHARE, Trial
from .champion import UNRELEASED, load_release, log
from .feedback import fill_windows
from .state import ServerState

POLL_S = 0.25  # `promote` and `rollback` take effect within this; one poll is one `stat`
# A rejected release is tried again: its files may still be arriving, or files, memory or disk space
# may have been short for a moment.
FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0
SWITCHES = Counter("switches_total", "Switches of the champion, by outcome", ["outcome"])
MISMATCH = Gauge(
    "rollout_mismatch", "1 while the server cannot run the releases named in rollout.json"
)


async def follow_rollout(state: ServerState) -> None:
    """Serve the releases in `releases/rollout.json`, until cancelled. Reject invalid ones."""
    applied: object = None
    seen: object = None
    pause_s, retry_at_s, reason = FIRST_PAUSE_S, 0.0, ""
    while state.served.release != UNRELEASED:
        await asyncio.sleep(POLL_S)
        try:
            file = ROLLOUT.stat()
            changed: object = (file.st_mtime_ns, file.st_size, file.st_ino)
        except OSError as error:
            changed = str(error)
        if changed != seen:
            seen, pause_s, retry_at_s, reason = changed, FIRST_PAUSE_S, 0.0, ""
        if changed == applied or time.monotonic() < retry_at_s:
            continue
        try:
            rollout = read_rollout()
            await _promote(state, rollout.champion)
            await _start_trial(state, rollout.challenger)
        except (Exception, SystemExit) as error:  # the current champion keeps serving
            MISMATCH.set(1)
            retry_at_s = time.monotonic() + pause_s
            pause_s = min(2 * pause_s, MAX_PAUSE_S)
            if str(error) != reason:  # the next tries most often fail for the same reason
                reason = str(error)
                SWITCHES.labels("refused").inc()
                extra = {"reason": reason, "release": state.served.release}
                log.error("release rejected, it is tried again", extra=extra)
        else:
            applied = changed
            MISMATCH.set(0)


async def _promote(state: ServerState, id: str) -> None:
    if id == state.served.release:
        return
    trial = state.trial
    if trial and trial.challenger.release == id:
        state.served = trial.challenger
    else:
        state.served = await asyncio.to_thread(load_release, id)
    state.trial = None
    with suppress(sqlite3.Error):  # the windows then fill with new labels
        await fill_windows(state)
    state.served.show()
    SWITCHES.labels("done").inc()
    log.info("champion switched", extra={"release": id})


async def _start_trial(state: ServerState, id: str | None) -> None:
    if state.trial and state.trial.challenger.release == id:
        return
    state.trial = None
    SHARE.clear()
    if id:
        challenger = await asyncio.to_thread(load_release, id)
        state.trial = Trial(state.scope, state.served, challenger)
        with suppress(sqlite3.Error):
            await fill_windows(state)
        log.info("challenger started", extra={"release": id, "share": state.trial.share})
