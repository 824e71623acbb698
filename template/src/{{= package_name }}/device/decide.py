"""Decisions within a deadline: the answer of the model, or else the fail-safe answer."""

import hashlib
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from prometheus_client import Counter

from ..monitoring.keyed_hash import hash_payload, load_key
from ..predictor import prepare
from ..refusal import Refusal
from ..scope import load_scope
from ..task import features
from .model_trial import DeviceModel, ModelFailure

# A model that has been busy this long, and for two deadlines, counts as hanging: the loop stops its
# watchdog messages, and systemd restarts the process.
HANG_S = 10.0
KEY = Path("data/outbox.key")  # of the ids of decisions
MAX_ERROR_CHARS = 1000  # of a decision, which must fit into a batch
RECENT = 250  # decisions that the reported p95 covers; 12 of them are slower than it
DECISIONS = Counter(
    "decisions", "Decisions by outcome; `answered` are those of the model", ["outcome"]
)


class Decider:
    """Decides on payloads of any thread. The model runs on a separate thread, which may hang."""

    def __init__(self) -> None:
        self._key = load_key(KEY)
        self.recent_ms = deque[float](maxlen=RECENT)
        self.model = DeviceModel()
        self._scope = load_scope()
        self.hang_s = max(HANG_S, 2 * self._scope.deadline_ms / 1000)
        self._busy_since_s = 0.0  # 0 while the model is idle
        self._thread = ThreadPoolExecutor(1)

    def decide(self, payload: bytes) -> dict[str, Any]:
        """Return the decision on one payload: an answer, or the reason for skipping the payload.

        If it is the fail-safe answer, `fail_safe` holds the reason: `late`, `failed`, or
        `refused` for an invalid payload. The id is a keyed hash of the payload.
        """
        id = hash_payload(self._key, payload)
        decision: dict[str, Any] = {"id": id, "time": time.time()}
        start_s = time.perf_counter()
        try:
            future = self._thread.submit(self._run_model, payload)
        except RuntimeError as error:  # the system has no room for a thread
            outcome = self._fail_safe("failed") | {"error": str(error)}
        else:
            try:
                outcome = future.result(self._scope.deadline_ms / 1000)
            except TimeoutError:
                future.cancel()  # if it is still queued behind another payload
                outcome = self._fail_safe("late")
        self.recent_ms.append(1000 * (time.perf_counter() - start_s))
        DECISIONS.labels(outcome.get("fail_safe") or outcome.get("skipped") or "answered").inc()
        return decision | outcome

    def skip_model(self, reason: str, **details: Any) -> dict[str, Any]:
        """Return the fail-safe decision on an input that is not read."""
        DECISIONS.labels(reason).inc()
        start = {"id": hashlib.sha256(b"").hexdigest(), "time": time.time()}
        return start | self._fail_safe(reason) | details

    def is_hanging(self) -> bool:
        """Return whether one payload has kept the model busy for more than `hang_s`."""
        busy_since_s = self._busy_since_s  # another thread sets it
        return busy_since_s > 0 and time.monotonic() - busy_since_s > self.hang_s

    def _run_model(self, payload: bytes) -> dict[str, Any]:
        self._busy_since_s = time.monotonic()
        try:
            inputs = prepare(payload)
            if _is_quiet(inputs.facts):
                return {"skipped": "quiet"}
            prediction = self.model.infer(inputs)
        except Refusal as refusal:
            return self._fail_safe("refused") | {"refused": refusal.detail}
        except ModelFailure as failure:
            return self._fail_safe("failed") | {"error": str(failure)[:MAX_ERROR_CHARS]}
        except (Exception, SystemExit) as error:  # in `task/`: its message may quote the payload
            return self._fail_safe("failed") | {"error": type(error).__name__}
        finally:
            self._busy_since_s = 0.0
        return dict(prediction.answer)

    def _fail_safe(self, reason: str) -> dict[str, Any]:
        return self._scope.fail_safe.model_dump(exclude={"after_times_p95"}) | {"fail_safe": reason}


def _is_quiet(facts: dict[str, float]) -> bool:
    """Return whether `quiet` of `task/features.py`, if defined, returns true for these facts."""
    quiet = getattr(features, "quiet", None)
    return quiet is not None and bool(quiet(facts))
