"""The prediction server: payload bytes in, a prediction out, and what it takes to run it."""

import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape
from importlib.resources import files
from string import Template
from typing import Any
from uuid import uuid4

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from pydantic import BaseModel

from .monitor import Monitor
from .predictor import Predictor
from .refusal import Refusal
from .scope import load_scope
from .task.features import CONTENT_TYPES, MAX_PAYLOAD_BYTES

PROMISE_S = load_scope().max_latency_p95_ms / 1000
BUCKETS = [PROMISE_S * share for share in (0.05, 0.1, 0.2, 0.5, 0.75, 1, 1.5, 2, 5)]
LATENCY = Histogram("prediction_latency_seconds", "From payload to answer", buckets=BUCKETS)
PREDICTIONS = Counter("predictions_total", "Answers given", ["label"])
REFUSALS = Counter("refusals_total", "Payloads refused, by HTTP status", ["status"])

BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY = {"requestBody": {"required": True, "content": {kind: BINARY for kind in CONTENT_TYPES}}}
WHY = {413: "too large", 415: "not a content type we read", 422: "breaks the contract"}
REFUSED: dict[int | str, dict[str, Any]] = {k: {"description": why} for k, why in WHY.items()}


class Answer(BaseModel):
    """What a client gets back."""

    id: str
    label: str
    confidence: float
    model_sha256: str


@asynccontextmanager
async def _load_model(app: FastAPI) -> AsyncIterator[None]:
    app.state.predictor = Predictor()
    app.state.monitor = Monitor(app.state.predictor)
    yield


NOT_FOR = f"Not for {load_scope().not_for}."
app = FastAPI(title=load_scope().project, description=NOT_FOR, lifespan=_load_model)


@app.post("/predict", openapi_extra=BODY, responses=REFUSED)
async def predict(request: Request) -> Answer:
    """Answer one payload."""
    payload = await _read(request)
    predictor: Predictor = request.app.state.predictor
    try:
        with LATENCY.time():
            answer = await run_in_threadpool(predictor.predict, payload)
    except Refusal as refusal:
        raise _refused(422, refusal) from None
    request.app.state.monitor.observe(answer)
    PREDICTIONS.labels(answer.label).inc()
    sha256, id = predictor.sha256, uuid4().hex
    return Answer(id=id, label=answer.label, confidence=answer.confidence, model_sha256=sha256)


async def _read(request: Request) -> bytes:
    """Read the body, but never more of it than a payload may have."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in CONTENT_TYPES:
        rule = f"one of {', '.join(CONTENT_TYPES)}"
        raise _refused(415, Refusal("content-type", kind, rule, next(iter(CONTENT_TYPES))))
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_PAYLOAD_BYTES:
            found, rule = f"{len(body)} bytes or more", f"at most {MAX_PAYLOAD_BYTES} bytes"
            raise _refused(413, Refusal("payload", found, rule, "a smaller file"))
    return bytes(body)


def _refused(status: int, refusal: Refusal) -> HTTPException:
    REFUSALS.labels(str(status)).inc()
    return HTTPException(status, [refusal.detail])


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the process is alive."""
    return {"status": "alive"}


@app.get("/readyz")
async def readyz(request: Request) -> dict[str, str]:
    """Say that a model is loaded, and which one."""
    return {"status": "ready", "model_sha256": request.app.state.predictor.sha256}


@app.get("/metrics")
async def metrics() -> Response:
    """Show the numbers to Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@app.get("/", response_class=HTMLResponse, include_in_schema=False)
async def status(request: Request) -> str:
    """Show the same numbers to people."""
    window = request.app.state.monitor.window
    (histogram,) = LATENCY.collect()
    counts = {sample.labels.get("le"): sample.value for sample in histogram.samples}
    scores = {name: window.score(name) for name in window.reference.signals}
    row = "<label>{0}<meter max=2 high=1 optimum=0 value={1}></meter>{1:.2f}</label>"
    bars = [row.format(escape(name), score) for name, score in scores.items() if score >= 0]
    return Template(files(__package__).joinpath("status.html").read_text()).substitute(
        project=escape(load_scope().project),
        answered=f"{counts['+Inf']:.0f}",
        in_time=f"{counts[str(PROMISE_S)] / max(counts['+Inf'], 1):.1%}",
        promise_ms=f"{1000 * PROMISE_S:g}",
        fill=f"{math.floor(100 * window.fill)} %",
        drift="\n".join(bars) or "<p>The live window is not full yet.</p>",
        sha256=request.app.state.predictor.sha256[:12],
    )


def serve() -> None:
    """Listen until told to stop; `<PACKAGE>_HOST` and `<PACKAGE>_PORT` say where."""
    host = os.environ.get(f"{__package__}_HOST".upper(), "127.0.0.1")
    port = int(os.environ.get(f"{__package__}_PORT".upper(), "8000"))
    print(f"Answering on http://{host}:{port}", flush=True)
    uvicorn.run(app, host=host, port=port, log_level="warning")
