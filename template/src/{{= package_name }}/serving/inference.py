"""From a request to a prediction: API keys, limits on size and time, and metrics."""

import asyncio
import logging
import math
import re
from functools import cache
from typing import Annotated, Any

from fastapi import HTTPException, Request, Security
from fastapi.security import APIKeyHeader
from prometheus_client import Counter, Histogram
from starlette.requests import ClientDisconnect

from ..predictor import Prediction
from ..problem.answer import count_name, list_said
from ..refusal import Refusal, check_size
from ..settings import is_authorized
from .batching import Overloaded
from .browsers import SIMPLE_TYPES
from .champion import LAST_PREDICTION, PREDICTIONS, SAID, Served
from .http_server import BODY_HAS_ARRIVED
from .state import ServerState, state_of

# Multiples of max_latency_p95_ms: finer below it, where the p95 is expected, and exact at 1.
BUCKETS = (0.05, 0.1, 0.2, 0.5, 0.75, 1, 1.5, 2, 5)
REFUSALS = Counter("refusals_total", "Rejected and failed requests, by HTTP status", ["status"])
BODY_S = 10  # slower clients only occupy memory
MAX_TIMEOUT_S = 60  # the usual timeout of proxies and load balancers
# All bodies that are being read. With MAX_WAITING_BYTES and about 120 MB for the process itself,
# this fits into the 512 MiB that the files in deploy/ give a server.
MAX_BODIES_BYTES = 128_000_000
REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
API_KEY = APIKeyHeader(name="x-api-key", auto_error=False)
ERRORS = {
    401: "missing or unknown API key",
    403: "a request of a web page from another host",
    408: "the body was sent too slowly",
    413: "the body is too large",
    415: "unsupported content type, or a compressed body",
    421: "a host that is not in ALLOWED_HOSTS",
    422: "invalid input",
    500: "the model failed",
    503: "overloaded or stopping",
}
# Start at zero: Prometheus' rate() misses the first increment of a counter it has never seen.
for _status in (*ERRORS, 400, 404):
    REFUSALS.labels(str(_status))
log = logging.getLogger(__package__)


@cache
def latency_histogram(limit_s: float) -> Histogram:
    """Return the latency histogram; one of its buckets ends exactly at the limit."""
    buckets = [limit_s * share for share in BUCKETS]
    return Histogram(
        "prediction_latency_seconds", "Seconds from payload to prediction", buckets=buckets
    )


def header(request: Request, name: bytes, default: str = "") -> str:
    """Return a header; `request.headers` takes several times as long."""
    for key, value in request.scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return default


def authorize(request: Request) -> None:
    """Check the API key of a request.

    Raises:
        HTTPException: 401.
    """
    keys = state_of(request).keys
    if keys and not is_authorized(header(request, b"x-api-key"), keys):
        raise refuse(401, Refusal("x-api-key", "missing or unknown", "a valid API key", "..."))


def client_of(request: Request) -> str:
    """Return who sent a request: its API key, or its address if no key is required."""
    if state_of(request).keys:
        return header(request, b"x-api-key")
    address = request.scope.get("client")
    return str(address[0]) if address else ""


async def require_key(request: Request, key: Annotated[str | None, Security(API_KEY)]) -> None:
    """Check the API key; as a dependency, it appears in the API docs."""
    authorize(request)


def refuse_simple_type(request: Request) -> None:
    """Refuse a body that any web page may send through a browser.

    Raises:
        HTTPException: 415.
    """
    kind = header(request, b"content-type").partition(";")[0].strip().lower()
    if kind in SIMPLE_TYPES:
        rule = "the type of the body; forms and plain text are not accepted"
        raise refuse(415, Refusal("content-type", kind, rule, "application/json"))


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Read the body of a request, with limits on size and time.

    Raises:
        HTTPException: 408, 413, 415 if it is compressed, or 503 if too many bytes are being read
            at once.
    """
    state = state_of(request)
    if (coding := header(request, b"content-encoding", "identity")) != "identity":
        raise refuse(415, Refusal("content-encoding", coding, "no compression", "identity"))
    body = bytearray()
    try:
        has_arrived = BODY_HAS_ARRIVED in request.scope.get("extensions", ())
        async with asyncio.timeout(None if has_arrived else BODY_S):  # a timer costs time, too
            async for chunk in request.stream():
                body += chunk
                state.bodies_bytes += len(chunk)
                check_size(len(body), max_bytes)
                if state.bodies_bytes > MAX_BODIES_BYTES:
                    raise refuse_busy(state.scope.max_latency_p95_s)
    except Refusal as refusal:
        raise refuse(413, refusal) from None
    except (TimeoutError, ClientDisconnect):
        rule = f"the whole payload within {BODY_S} s"
        raise refuse(408, Refusal("payload", f"{len(body)} bytes", rule, "all of it")) from None
    finally:
        state.bodies_bytes -= len(body)
    return bytes(body)


def client_id(request: Request) -> str:
    """Return the client's `x-request-id`, or an empty string if it is missing or not valid."""
    given = header(request, b"x-request-id")
    return given if REQUEST_ID.fullmatch(given) else ""


async def infer(
    request: Request, payload: bytes, id: str, within_s: float, champion_only: bool = False
) -> tuple[Prediction, Served]:
    """Return the prediction for one payload, and the model that made it.

    Raises:
        HTTPException: 422 with the violated rule, 500, or 503 with `Retry-After`.
    """
    state, client = state_of(request), client_of(request)
    served, trial = state.served, state.trial  # read once: a hot swap may replace both
    try:
        with state.latency.time():
            if trial and not champion_only:
                return await trial.predict(state.batcher, id, payload, within_s, client)
            return await state.batcher.predict(payload, served.model, within_s, client), served
    except Refusal as refusal:
        raise refuse(422, refusal) from None
    except Overloaded as overload:
        raise refuse_busy(overload.retry_after_s) from None
    except Exception as error:  # in the model or in `task/`; the client gets only the id
        # Without the message of the error, which may quote the payload.
        shown = RuntimeError(type(error).__name__).with_traceback(error.__traceback__)
        about = {"request_id": id, "release": served.release}
        log.error("prediction failed", exc_info=shown, extra=about)
        raise refuse(500, Refusal("model", type(error).__name__, "a finite output", id)) from None


def record(
    state: ServerState,
    payload: bytes,
    prediction: Prediction,
    served: Served,
    id: str,
    is_new: bool,
) -> str:
    """Count a prediction that is about to be sent, and note it in the journal.

    Returns the id for the answer: another one than `id` if that is taken. `is_new` tells that the
    server made it.
    """
    served.monitor.observe(prediction)
    PREDICTIONS.labels(count_name(prediction.answer)).inc()
    if SAID:
        for name in list_said(prediction.answer):
            SAID.labels(name).inc()
    LAST_PREDICTION.set_to_current_time()
    return state.journal.note(id, payload, prediction, served.sha256, is_new)


def timeout_s(request: Request) -> float:
    """Return how long the client will wait; by default, `max_latency_p95_ms`.

    Raises:
        HTTPException: 422.
    """
    state = state_of(request)
    if not (text := header(request, b"x-timeout-ms")):
        return state.scope.max_latency_p95_s
    try:
        if 0 < (seconds := float(text) / 1000) <= MAX_TIMEOUT_S:
            return seconds
    except ValueError:
        pass
    rule = f"milliseconds above 0, at most {1000 * MAX_TIMEOUT_S}"
    raise refuse(422, Refusal("x-timeout-ms", text, rule, state.scope.max_latency_p95_ms))


def check_worker(state: ServerState) -> None:
    """Check that the thread that runs the model is alive.

    Raises:
        HTTPException: 500. An orchestrator then restarts the process.
    """
    if not state.batcher.is_alive:
        log.error("the worker thread has stopped")
        raise refuse(500, Refusal("worker", "stopped", "a running thread", "a restart"))


def refuse(status: int, refusal: Refusal) -> HTTPException:
    """Count a rejected or failed request; return the exception to raise."""
    REFUSALS.labels(str(status)).inc()
    return HTTPException(status, [{key: printable(text) for key, text in refusal.detail.items()}])


def printable(text: str) -> str:
    """Escape what UTF-8 cannot hold: JSON may contain half of a surrogate pair."""
    return text.encode(errors="backslashreplace").decode()


def refuse_busy(retry_after_s: float) -> HTTPException:
    """Count a request rejected with 503 and `Retry-After`; return the exception to raise."""
    headers: dict[str, Any] = {"Retry-After": str(math.ceil(retry_after_s))}
    REFUSALS.labels("503").inc()
    return HTTPException(503, ERRORS[503], headers)
