"""The release that answers: loaded, warm, and exchanged while the server runs."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from prometheus_client import Counter

from .artifacts import ONNX_INT8, REFERENCE
from .engine import Warm
from .monitor import Monitor
from .predictor import Predictor
from .registry import RELEASES, Unfit, read_rollout, verified

POLL_S = 0.25
UNRELEASED = "unreleased"
SWITCHES = Counter("switches_total", "Exchanges of the model that answers", ["outcome"])
log = logging.getLogger(__package__)


class Served(NamedTuple):
    """What answers: a warm model, its live window, and the release that it is from."""

    model: Warm
    monitor: Monitor
    release: str


def released() -> Served:
    """Load the champion.

    Raises:
        SystemExit: it is missing, altered or unfit; the file and what to do are named.
    """
    try:
        release = verified(read_rollout().champion)
    except Unfit as unfit:
        raise SystemExit(str(unfit)) from None
    return _warm(release.folder / "model.onnx", release.folder / "reference.json", release.id)


def unreleased() -> Served:
    """Load the model that was made last, whatever the gates say: to time it, or to try it."""
    return _warm(ONNX_INT8, REFERENCE, UNRELEASED)


def _warm(model: Path, reference: Path, release: str) -> Served:
    predictor = Predictor(model)
    return Served(Warm.up(predictor), Monitor(predictor, reference), release)


async def follow(serving: str, use: Callable[[Served], None]) -> None:
    """Load each new champion beside the old one, and hand it over once it is warm.

    One that cannot be used is logged and counted, and the old one goes on answering.
    """
    seen = 0
    while serving != UNRELEASED:
        await asyncio.sleep(POLL_S)
        try:
            if (now := (RELEASES / "rollout.json").stat().st_mtime_ns) == seen:
                continue
            seen = now
            if read_rollout().champion != serving:
                served = await asyncio.to_thread(released)
                use(served)
                serving = served.release
                SWITCHES.labels("done").inc()
                log.info("switched", extra={"release": serving})
        except (Unfit, OSError, SystemExit) as error:
            SWITCHES.labels("refused").inc()
            log.error("not switched", extra={"reason": str(error), "release": serving})
