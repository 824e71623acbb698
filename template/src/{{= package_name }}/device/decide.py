"""A payload in, a decision out, in time: when the model has none, what `scope.yaml` calls safe."""

import hashlib
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prometheus_client import Counter

from ..predictor import prepared
from ..refusal import Refusal
from ..scope import load_scope
from ..task import features as task
from .model_trial import Answering

HANGS_S = 10
RECENT = 250  # decisions whose p95 latency is reported
DECISIONS = Counter("decisions", "Decisions made; only some are the model's", ["outcome"])
QUIET: Callable[[dict[str, float]], bool] | None = getattr(task, "quiet", None)


class Decider:
    """Decides for any thread; the model runs on one of its own, which may hang."""

    def __init__(self) -> None:
        self.recent_ms = deque[float](maxlen=RECENT)
        self._busy_since_s = 0.0
        self.models, self._thread = Answering(), ThreadPoolExecutor(1)
        self._scope = load_scope()

    def decide(self, payload: bytes) -> dict[str, Any]:
        """Return the decision on one payload; it has a label, or says why it was skipped.

        Where the label is not the model's, `fail_safe` says why: `late`, `failed`, or `refused`
        for a payload that breaks the contract. The id is the hash of the payload, so that whoever
        reads the outbox can drop repeats.
        """
        decision: dict[str, Any] = {"id": hashlib.sha256(payload).hexdigest(), "time": time.time()}
        start_s = time.perf_counter()
        future = self._thread.submit(self._answer, payload)
        try:
            found = future.result(self._scope.deadline_ms / 1000)
        except TimeoutError:
            future.cancel()  # what has not begun never will
            found = self._safe("late")
        self.recent_ms.append(1000 * (time.perf_counter() - start_s))
        DECISIONS.labels(found.get("fail_safe") or found.get("skipped") or "answered").inc()
        return decision | found

    def hangs(self) -> bool:
        """Whether the model is at one payload for `HANGS_S`: only a new process can help."""
        busy_since_s = self._busy_since_s
        return busy_since_s > 0 and time.monotonic() - busy_since_s > HANGS_S

    def _answer(self, payload: bytes) -> dict[str, Any]:
        self._busy_since_s = time.monotonic()
        try:
            inputs = prepared(payload)
            if QUIET and QUIET(inputs.facts):
                return {"skipped": "quiet"}
            prediction = self.models.answer(inputs)
        except Refusal as refusal:
            return self._safe("refused") | {"refused": refusal.detail}
        except Exception as error:  # onnxruntime's errors share no other base class
            return self._safe("failed") | {"error": str(error)}
        finally:
            self._busy_since_s = 0.0
        return {"label": prediction.label, "confidence": prediction.confidence}

    def _safe(self, why: str) -> dict[str, Any]:
        return {"label": self._scope.fail_safe.label, "fail_safe": why}
