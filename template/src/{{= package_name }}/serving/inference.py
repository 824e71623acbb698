"""From a request to an answer: who may ask, how much, for how long, and what is counted."""

import asyncio
import logging
import math
import re
from typing import Any
from uuid import uuid4

from fastapi import HTTPException, Request
from prometheus_client import Counter, Histogram
from starlette.requests import ClientDisconnect

from ..keys import admits, known_keys
from ..predictor import Prediction
from ..refusal import Refusal
from ..scope import load_scope
from .batching import Engine, Overloaded
from .canary import Trial
from .champion import LAST, PREDICTIONS, Served

PROMISE_S = load_scope().max_latency_p95_ms / 1000
BUCKETS = [PROMISE_S * share for share in (0.05, 0.1, 0.2, 0.5, 0.75, 1, 1.5, 2, 5)]
LATENCY = Histogram("prediction_latency_seconds", "From payload to answer", buckets=BUCKETS)
REFUSALS = Counter("refusals_total", "Requests without an answer, by HTTP status", ["status"])
BODY_S, MAX_TIMEOUT_S = 10, 60
MAX_BODIES_BYTES = 128_000_000  # of all requests that are being read
REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
WHY = {
    401: "no API key that is known here",
    408: "the body came too slowly",
    413: "too large",
    415: "not a content type we read",
    422: "breaks the contract",
    500: "the model failed",
    503: "too busy to answer in time, or stopping",
}
for _status in WHY:  # at 0 from the start: a rate knows no first time
    REFUSALS.labels(str(_status))
KEYS = known_keys("API_KEYS")
log = logging.getLogger(__package__)


async def read(request: Request, max_bytes: int) -> bytes:
    """Read a body: for those who may ask, no more than there may be, and not for too long.

    The keys are lines of the file `<PACKAGE>_API_KEYS_FILE`, or words of `<PACKAGE>_API_KEYS`;
    without any, everybody may ask.

    Raises:
        HTTPException: 401, 408, 413, or 503 when too many bytes are being read at once.
    """
    if not admits(KEYS, request.headers.get("x-api-key", "")):
        raise refused(401, Refusal("x-api-key", "no known key", "a key of this server", "..."))
    state, body = request.app.state, bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                state.bodies_bytes += len(chunk)
                if len(body) > max_bytes:
                    found, rule = f"{len(body)} bytes or more", f"at most {max_bytes} bytes"
                    raise refused(413, Refusal("payload", found, rule, "a smaller file"))
                if state.bodies_bytes > MAX_BODIES_BYTES:
                    raise busy(PROMISE_S)
    except (TimeoutError, ClientDisconnect):
        rule = f"the whole payload within {BODY_S} s"
        raise refused(408, Refusal("payload", f"{len(body)} bytes", rule, "all of it")) from None
    finally:
        state.bodies_bytes -= len(body)
    return bytes(body)


def id_of(request: Request) -> str:
    """Return the `x-request-id` that came along, or a new one."""
    given = request.headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else uuid4().hex


async def answered(request: Request, id: str, payload: bytes) -> tuple[Prediction, str]:
    """Answer one payload of the request with this id; return the prediction and the model's hash.

    Raises:
        HTTPException: 422 with the rule that is broken, 500, or 503 with when to come again.
    """
    within_s = _within_s(request)
    engine: Engine = request.app.state.engine
    served: Served = request.app.state.served  # once: another model may come while this one answers
    trial: Trial | None = request.app.state.trial
    try:
        with LATENCY.time():
            if trial:
                prediction, served = await trial.predict(engine, id, payload, within_s)
            else:
                prediction = await engine.predict(payload, served.model, within_s)
    except Refusal as refusal:
        raise refused(422, refusal) from None
    except Overloaded as overload:
        raise busy(overload.retry_after_s) from None
    except Exception as error:  # of the network or of `task/`; the client learns only the id
        log.exception("failed", extra={"request_id": id, "release": served.release})
        raise refused(500, Refusal("model", type(error).__name__, "a finite answer", id)) from None
    served.monitor.observe(prediction)
    request.app.state.journal.note(id, payload, prediction, served.model.predictor.sha256)
    PREDICTIONS.labels(prediction.label).inc()
    LAST.set_to_current_time()
    return prediction, served.model.predictor.sha256


def _within_s(request: Request) -> float:
    """Read how long the client waits; without a word of it, as long as was promised."""
    text = request.headers.get("x-timeout-ms")
    if text is None:
        return PROMISE_S
    try:
        if 0 < (seconds := float(text) / 1000) <= MAX_TIMEOUT_S:
            return seconds
    except ValueError:
        pass
    rule = f"milliseconds above 0, at most {1000 * MAX_TIMEOUT_S}"
    raise refused(422, Refusal("x-timeout-ms", text, rule, 1000 * PROMISE_S))


def refused(status: int, refusal: Refusal) -> HTTPException:
    """Count a request that gets no answer; return what says why."""
    REFUSALS.labels(str(status)).inc()
    return HTTPException(status, [refusal.detail])


def busy(retry_after_s: float) -> HTTPException:
    """Count a request that has to come again; return what says when."""
    headers: dict[str, Any] = {"Retry-After": str(math.ceil(retry_after_s))}
    REFUSALS.labels("503").inc()
    return HTTPException(503, WHY[503], headers)
