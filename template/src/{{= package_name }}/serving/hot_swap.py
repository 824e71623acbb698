"""What `releases/rollout.json` says is what answers, while the server runs."""

import asyncio

from prometheus_client import Counter
from starlette.datastructures import State

from ..releases.registry import RELEASES, read_rollout
from .canary import SHARE, Trial
from .champion import UNRELEASED, loaded, log

POLL_S = 0.25
SWITCHES = Counter("switches_total", "Exchanges of the model that answers", ["outcome"])


async def follow(state: State) -> None:
    """Do what `releases/rollout.json` says each time it changes; what is unfit is not used.

    Another model is loaded beside the one that answers, and takes over once it is warm.
    """
    seen = 0
    while state.served.release != UNRELEASED:
        await asyncio.sleep(POLL_S)
        try:
            if (now := (RELEASES / "rollout.json").stat().st_mtime_ns) == seen:
                continue
            seen = now
            rollout = read_rollout()
            await _crown(state, rollout.champion)
            await _try(state, rollout.challenger)
        except (Exception, SystemExit) as error:  # whatever it is, the champion goes on answering
            SWITCHES.labels("refused").inc()
            log.error("refused", extra={"reason": str(error), "release": state.served.release})


async def _crown(state: State, id: str) -> None:
    if id == state.served.release:
        return
    trial: Trial | None = state.trial
    known = trial and trial.challenger.release == id
    served = trial.challenger if trial and known else await asyncio.to_thread(loaded, id)
    state.served, state.trial = served, None
    served.show()
    SWITCHES.labels("done").inc()
    log.info("switched", extra={"release": id})


async def _try(state: State, id: str | None) -> None:
    if state.trial and state.trial.challenger.release == id:
        return
    state.trial = None
    SHARE.clear()
    if id:
        state.trial = Trial(state.served, await asyncio.to_thread(loaded, id))
        log.info("tried", extra={"release": id, "share": state.trial.share})
