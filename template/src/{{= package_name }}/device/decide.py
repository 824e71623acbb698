"""Decide on a payload within the deadline: with the model, or with the fail-safe label."""

import hashlib
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prometheus_client import Counter

from ..predictor import prepare
from ..refusal import Refusal
from ..scope import load_scope
from ..task import features
from .model_trial import DeviceModel

# A model that is busy this long is taken for hanging: the loop then sends no watchdog messages, and
# systemd starts the process again. Far above any deadline of a device that decides for a line.
HANG_S = 10
RECENT = 250  # decisions of which the p95 is reported: 12 of them are above it
DECISIONS = Counter(
    "decisions", "Decisions, by outcome; only some come from the model", ["outcome"]
)


class Decider:
    """Decides, from any thread. The model runs on one thread of its own, which may hang."""

    def __init__(self) -> None:
        self.recent_ms = deque[float](maxlen=RECENT)
        self.model = DeviceModel()
        self._scope = load_scope()
        self._busy_since_s = 0.0  # 0 while the model is idle
        self._thread = ThreadPoolExecutor(1)

    def decide(self, payload: bytes) -> dict[str, Any]:
        """Return the decision on one payload: a label, or why the payload was skipped.

        If the label is not the model's, `fail_safe` says why: `late`, `failed`, or `refused` for
        an invalid payload. The id is the hash of the payload; readers of the outbox find repeats
        by it.
        """
        decision: dict[str, Any] = {"id": hashlib.sha256(payload).hexdigest(), "time": time.time()}
        start_s = time.perf_counter()
        future = self._thread.submit(self._run_model, payload)
        try:
            outcome = future.result(self._scope.deadline_ms / 1000)
        except TimeoutError:
            future.cancel()  # a payload that still waits behind another one is not decided on later
            outcome = self._fail_safe("late")
        self.recent_ms.append(1000 * (time.perf_counter() - start_s))
        DECISIONS.labels(outcome.get("fail_safe") or outcome.get("skipped") or "answered").inc()
        return decision | outcome

    def is_hanging(self) -> bool:
        """Whether the model is busy with one payload for `HANG_S`: only a restart can help."""
        busy_since_s = self._busy_since_s  # another thread sets it
        return busy_since_s > 0 and time.monotonic() - busy_since_s > HANG_S

    def _run_model(self, payload: bytes) -> dict[str, Any]:
        self._busy_since_s = time.monotonic()
        try:
            inputs = prepare(payload)
            if _is_quiet(inputs.facts):
                return {"skipped": "quiet"}
            prediction = self.model.answer(inputs)
        except Refusal as refusal:
            return self._fail_safe("refused") | {"refused": refusal.detail}
        except Exception as error:  # onnxruntime's errors share no other base class
            return self._fail_safe("failed") | {"error": str(error)}
        finally:
            self._busy_since_s = 0.0
        return {"label": prediction.label, "confidence": prediction.confidence}

    def _fail_safe(self, reason: str) -> dict[str, Any]:
        return {"label": self._scope.fail_safe.label, "fail_safe": reason}


def _is_quiet(facts: dict[str, float]) -> bool:
    """Whether `quiet` of the task, if it has one, finds nothing to decide on."""
    quiet = getattr(features, "quiet", None)
    return quiet is not None and bool(quiet(facts))
