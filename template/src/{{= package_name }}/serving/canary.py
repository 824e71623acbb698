"""A challenger beside the champion: compared in its shadow, then trusted with more and more.

Some requests are answered by both models, after the client has its answer: there they are
compared. A share of the requests, which grows step by step, gets the answer of the challenger, or
of the champion where the challenger fails. At the first broken rule it answers nothing any more.
Requests with one id go to one model.
"""

import asyncio
import random
import time
from dataclasses import dataclass
from functools import partial
from zlib import crc32

from prometheus_client import Counter, Gauge

from ..predictor import Prediction, prepared
from ..refusal import Refusal
from ..scope import SCOPE, load_scope
from .batching import Engine, Overloaded
from .champion import Served, log
from .warm import Warm

STEPS = (0.01, 0.05, 0.25, 1.0)
COMPARED = 0.1  # of all requests; each costs one run of both models
ENOUGH = 200  # comparisons a step, and observations that a rule takes together
P95, MEDIAN = 0.05, 0.5  # a p95 or a median keeps a limit when no larger share exceeds it
SHARE = Gauge("challenger_share_ratio", "Share of the requests it may answer", ["release"])
STRAIN = Gauge("challenger_rule_ratio", "How far a rule is used up; above 1 it halts", ["rule"])
HALTS = Counter("challenger_halts_total", "Challengers that broke a rule", ["rule"])


@dataclass
class Rule:
    """Of so many observations in a row, this share may break it."""

    allowed: float
    seen: int = 0
    broken: int = 0

    def is_over(self, broken: bool) -> bool:
        """Take one observation in, and say whether there were too many that break the rule."""
        if self.seen == ENOUGH:
            self.seen = self.broken = 0
        self.seen += 1
        self.broken += broken
        return self.strain > 1

    @property
    def strain(self) -> float:
        """What broke it over what may break it."""
        return self.broken / (self.allowed * ENOUGH)


class Trial:
    """How far one challenger is trusted, and what it has done wrong."""

    def __init__(self, champion: Served, challenger: Served) -> None:
        scope, limits = load_scope(), load_scope().challenger
        if not limits:
            raise SystemExit(f"{SCOPE} has no section `challenger`: without rules, no trial.")
        self.champion, self.challenger, self.halted_by = champion, challenger, ""
        self._limits, self._promise_s = limits, scope.max_latency_p95_ms / 1000
        self.rules = {
            "errors": Rule(limits.max_errors),
            "latency": Rule(P95),
            "slowdown": Rule(MEDIAN),
            "disagreement": Rule(limits.max_disagreement),
            "shift": Rule(MEDIAN),
            "quality": Rule(1 - scope.min_metric),
        }
        self._step = self._compared = 0
        self._comparison: asyncio.Task[None] | None = None
        SHARE.clear()
        SHARE.labels(challenger.release).set_function(lambda: self.share)
        for name, rule in self.rules.items():
            STRAIN.labels(name).set_function(partial(getattr, rule, "strain"))

    @property
    def share(self) -> float:
        """Share of the requests that the challenger may answer now."""
        return 0 if self.halted_by else STEPS[self._step]

    async def predict(
        self, engine: Engine, id: str, payload: bytes, within_s: float
    ) -> tuple[Prediction, Served]:
        """Answer by one of the two, and say which; raises what `Engine.predict` does."""
        turn, start = crc32(id.encode()) / 2**32, time.perf_counter()
        by, found = self.challenger, None
        if turn < self.share:
            found = await self._tried(engine, payload, within_s)
        if found is None:
            left_s = within_s - (time.perf_counter() - start)
            by, found = self.champion, await engine.predict(payload, self.champion.model, left_s)
        idle = self._comparison is None or self._comparison.done()
        if turn < COMPARED and idle and not self.halted_by:
            self._comparison = asyncio.create_task(self._compare(payload))
        return found, by

    def judge(self, right: bool) -> None:
        """Take in a label that came for an answer of the challenger."""
        self._note(quality=not right)

    async def _tried(self, engine: Engine, payload: bytes, within_s: float) -> Prediction | None:
        """Ask the challenger; there is no answer where it fails."""
        start = time.perf_counter()
        try:
            found = await engine.predict(payload, self.challenger.model, within_s)
        except (Refusal, Overloaded):
            raise
        except Exception:  # whatever is wrong with it
            self._note(errors=True)
            return None
        self._note(errors=False, latency=time.perf_counter() - start > self._promise_s)
        return found

    async def _compare(self, payload: bytes) -> None:
        """Let both answer the same payload, in an order that favours neither."""
        both = [self.champion.model, self.challenger.model]
        try:
            timed = await asyncio.to_thread(_timed, payload, *random.sample(both, 2))
        except Exception:  # a refusal, or a fault in `task/`: of no model
            return
        (old, old_s), (new, new_s) = (timed[model] for model in both)
        if isinstance(old, Exception):
            return
        if isinstance(new, Exception):
            self._note(errors=True)
        else:
            self._note(
                errors=False,
                slowdown=new_s > self._limits.max_slowdown * old_s,
                disagreement=new.label != old.label,
                shift=abs(new.confidence - old.confidence) > self._limits.max_shift,
            )
        self._compared += 1
        if self._compared == ENOUGH and not self.halted_by and self.share < STEPS[-1]:
            self._compared, self._step = 0, self._step + 1
            log.info("trusted", extra={"release": self.challenger.release, "share": self.share})

    def _note(self, **broken: bool) -> None:
        for name, it_is in broken.items():
            if self.rules[name].is_over(it_is) and not self.halted_by:
                self.halted_by = name
                HALTS.labels(name).inc()
                log.error("halted", extra={"release": self.challenger.release, "rule": name})


def _timed(payload: bytes, *models: Warm) -> dict[Warm, tuple[Prediction | Exception, float]]:
    ready, found = prepared(payload), {}
    for model in models * 2:  # the second time counts, when both find their caches warm
        start = time.thread_time()  # CPU, so that what else the server does counts for neither
        (result,) = model.answers([ready])
        found[model] = result, time.thread_time() - start
    return found
