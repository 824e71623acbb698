"""Replaces the model of a running server when `releases/rollout.json` changes.

The new model is loaded while the old one keeps serving, and takes over after its warm-up.
"""

import asyncio

from prometheus_client import Counter

from ..releases.registry import RELEASES, read_rollout
from .canary import SHARE, Trial
from .champion import UNRELEASED, load_release, log
from .state import ServerState

POLL_S = 0.25  # `promote` and `rollback` take effect within this; one poll is one `stat`
SWITCHES = Counter("switches_total", "Switches of the champion, by outcome", ["outcome"])


async def follow_rollout(state: ServerState) -> None:
    """Serve the releases in `releases/rollout.json`, until cancelled. Reject invalid ones."""
    applied_ns = 0
    while state.served.release != UNRELEASED:
        await asyncio.sleep(POLL_S)
        try:
            if (changed_ns := (RELEASES / "rollout.json").stat().st_mtime_ns) == applied_ns:
                continue
            applied_ns = changed_ns
            rollout = read_rollout()
            await _promote(state, rollout.champion)
            await _start_trial(state, rollout.challenger)
        except (Exception, SystemExit) as error:  # the current champion keeps serving
            SWITCHES.labels("refused").inc()
            log.error(
                "release rejected", extra={"reason": str(error), "release": state.served.release}
            )


async def _promote(state: ServerState, id: str) -> None:
    if id == state.served.release:
        return
    trial = state.trial
    if trial and trial.challenger.release == id:
        state.served = trial.challenger
    else:
        state.served = await asyncio.to_thread(load_release, id)
    state.trial = None
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
        log.info("challenger started", extra={"release": id, "share": state.trial.share})
