"""Canary release: a challenger serves a growing share of the requests until it breaks a rule.

Shadow: after the client has its response, some requests are run through both models and the
predictions are compared. Canary: a growing share of the requests gets the prediction of the
challenger; if the challenger fails, the champion serves the request. The first broken rule halts
the challenger. Requests with the same id go to the same model. Clients cannot choose which one, and
none of several clients gives more than half of the evidence.
"""

import asyncio
import random
import secrets
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b, sha256

from prometheus_client import Counter as CounterMetric
from prometheus_client import Gauge

from ..predictor import Prediction, prepare
from ..problem import answer, metrics
from ..refusal import Refusal
from ..scope import SCOPE, Scope
from .batching import DynamicBatcher, LoadedModel, Overloaded
from .champion import Served, log

# A fault that only real traffic reveals affects 1 % of the clients first. A step ends after enough
# comparisons, not after a time: 2,000 requests take 7 minutes at 5 per s, and 20 s at 100 per s.
STEPS = (0.01, 0.05, 0.25, 1.0)
# Share of the requests that are compared. A comparison runs both models twice, so this adds at most
# 40 % to the runs of a model, and a step takes about 2,000 requests.
COMPARED_SHARE = 0.1
# Comparisons per step, and observations per decision of a rule. With 200, a limit of 10 % passes a
# challenger that differs in 5 % of the cases with probability 0.999, and halts one that differs in
# 15 % with probability 0.97. A limit of 1 % is coarser: it halts 2 % with probability 0.76.
MIN_COMPARISONS = 200
MIN_EVIDENCE = 10  # of each client, before the others have given any
# A p95, or a median, meets a limit if at most this share of the observations exceeds it.
P95 = 0.05
MEDIAN = 0.5
SHARE = Gauge(
    "challenger_share_ratio", "Share of the requests that the challenger serves", ["release"]
)
USAGE = Gauge(
    "challenger_rule_ratio",
    "Violations of a rule divided by the allowed number; above 1 the challenger is halted",
    ["rule"],
)
HALTS = CounterMetric("challenger_halts_total", "Challengers halted, by rule", ["rule"])


@dataclass
class Rule:
    """In each run of `MIN_COMPARISONS` observations, a share of `allowed` may break the rule."""

    allowed: float
    observed: int = 0
    broken: int = 0

    def observe(self, is_broken: bool) -> bool:
        """Count one observation; return whether too many broke the rule."""
        if self.observed == MIN_COMPARISONS:
            self.observed = self.broken = 0
        self.observed += 1
        self.broken += is_broken
        return self.usage > 1

    def correct(self, is_broken: bool) -> bool:
        """Replace an earlier observation by its opposite; return whether too many broke the rule.

        It may be one of an earlier run, which has no effect any more.
        """
        self.broken = min(max(self.broken + (1 if is_broken else -1), 0), self.observed)
        return self.usage > 1

    @property
    def usage(self) -> float:
        """Observations that broke the rule, divided by the allowed number."""
        return self.broken / (self.allowed * MIN_COMPARISONS)


class Trial:
    """A challenger that runs next to the champion, and the rules that can halt it.

    Raises:
        SystemExit: `scope.yaml` has no section `challenger`.
    """

    def __init__(self, scope: Scope, champion: Served, challenger: Served) -> None:
        limits = scope.challenger
        if not limits:
            raise SystemExit(
                f"{SCOPE} has no section `challenger`. Add its rules, or remove the challenger."
            )
        self.champion = champion
        self.challenger = challenger
        self.halted_by = ""
        self._limits = limits
        self._scope = scope
        self._max_latency_s = scope.max_latency_p95_s
        # The signature of the release: all servers have it, and no client can compute it.
        secret = challenger.reports.get("manifest.dsse") or secrets.token_bytes(32)
        self._key = sha256(secret).digest()
        self.rules = {
            "errors": Rule(limits.max_errors),
            "latency": Rule(P95),
            "slowdown": Rule(MEDIAN),
            "disagreement": Rule(limits.max_disagreement),
            "shift": Rule(MEDIAN),
            "quality": Rule(metrics.allowed_wrong(scope)),
        }
        self._step = 0
        self._compared = 0
        self._evidence: Counter[str] = Counter()  # of this step, by client
        self._comparison: asyncio.Task[None] | None = None
        SHARE.clear()
        SHARE.labels(challenger.release).set_function(lambda: self.share)
        for name, rule in self.rules.items():
            USAGE.labels(name).set_function(partial(getattr, rule, "usage"))

    @property
    def share(self) -> float:
        """Share of the requests that the challenger serves now."""
        return 0 if self.halted_by else STEPS[self._step]

    async def predict(
        self, batcher: DynamicBatcher, id: str, payload: bytes, within_s: float, client: str = ""
    ) -> tuple[Prediction, Served]:
        """Predict with one of the two models and return it; raises the errors of the batcher."""
        position = self._position(id)
        start = time.perf_counter()
        served = self.challenger
        prediction = None
        if position < self.share:
            prediction = await self._try_challenger(batcher, payload, within_s, client)
        if prediction is None:
            left_s = within_s - (time.perf_counter() - start)
            served = self.champion
            prediction = await batcher.predict(payload, self.champion.model, left_s, client)
        is_idle = self._comparison is None or self._comparison.done()
        if position < COMPARED_SHARE and is_idle and not self.halted_by and self._counts(client):
            self._comparison = asyncio.create_task(self._compare(payload, client))
        return prediction, served

    def observe_label(self, is_right: bool, was_right: bool | None = None) -> None:
        """Count a label for a prediction of the challenger; a corrected label counts once."""
        if was_right is None:
            self._observe(quality=not is_right)
        elif was_right != is_right:
            self._halt_if("quality", self.rules["quality"].correct(not is_right))

    def _position(self, id: str) -> float:
        """Return the place of a request among all, 0 to 1, by a key that clients do not have."""
        digest = blake2b(id.encode(), key=self._key, digest_size=4).digest()
        return int.from_bytes(digest, "big") / 2**32

    def _counts(self, client: str) -> bool:
        """Whether a client may give more evidence.

        While there are several clients, each may give as much as all others together. Those that
        gave less than 5 % so far do not count: one request would otherwise hold up the trial.
        """
        total, own = self._evidence.total(), self._evidence[client]
        others = [n for name, n in self._evidence.items() if name != client and n >= 0.05 * total]
        return not others or own <= total - own + MIN_EVIDENCE

    async def _try_challenger(
        self, batcher: DynamicBatcher, payload: bytes, within_s: float, client: str
    ) -> Prediction | None:
        """Return the prediction of the challenger, or None if it fails."""
        start = time.perf_counter()
        try:
            prediction = await batcher.predict(payload, self.challenger.model, within_s, client)
        except (Refusal, Overloaded):  # the champion would raise the same
            raise
        except Exception:  # the champion serves the request instead
            if self._counts(client):
                self._evidence[client] += 1
                self._observe(errors=True)
            return None
        if self._counts(client):
            is_late = time.perf_counter() - start > self._max_latency_s
            self._evidence[client] += 1
            self._observe(errors=False, latency=is_late)
        return prediction

    async def _compare(self, payload: bytes, client: str) -> None:
        """Run both models on the same payload, in random order."""
        both = [self.champion.model, self.challenger.model]
        try:
            results = await asyncio.to_thread(_time_models, payload, *random.sample(both, 2))
        except Exception:  # an invalid payload, or a bug in `task/`: not the model's fault
            return
        (old, old_s), (new, new_s) = (results[model] for model in both)
        if isinstance(old, Exception):
            return
        if isinstance(new, Exception):
            self._observe(errors=True)
        else:
            self._observe(
                errors=False,
                slowdown=new_s > self._limits.max_slowdown * old_s,
                disagreement=not answer.is_same(new.answer, old.answer, self._scope),
                shift=answer.shift(new.answer, old.answer, self._scope) > self._limits.max_shift,
            )
        self._compared += 1
        self._evidence[client] += 1
        if self._compared == MIN_COMPARISONS and not self.halted_by and self.share < STEPS[-1]:
            self._compared = 0
            self._evidence.clear()
            self._step += 1
            log.info(
                "challenger advanced",
                extra={"release": self.challenger.release, "share": self.share},
            )

    def _observe(self, **broken: bool) -> None:
        for name, is_broken in broken.items():
            self._halt_if(name, self.rules[name].observe(is_broken))

    def _halt_if(self, name: str, is_broken: bool) -> None:
        if is_broken and not self.halted_by:
            self.halted_by = name
            HALTS.labels(name).inc()
            log.error("challenger halted", extra={"release": self.challenger.release, "rule": name})


def _time_models(
    payload: bytes, *models: LoadedModel
) -> dict[LoadedModel, tuple[Prediction | Exception, float]]:
    ready = prepare(payload)
    results = {}
    for model in models * 2:  # the second run counts: both models then have warm caches
        start = time.thread_time()  # CPU time, to exclude other work of the server
        (result,) = model.predict_batch([ready])
        results[model] = result, time.thread_time() - start
    return results
