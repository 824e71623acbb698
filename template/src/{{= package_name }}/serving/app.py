"""The prediction server: payload bytes in, a prediction out, and what it takes to run it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from ..monitoring.scope_limits import show_limits
from ..refusal import Refusal
from ..scope import load_params, load_scope
from ..task.features import CONTENT_TYPES, MAX_PAYLOAD_BYTES
from . import feedback, open_inference, status
from .batching import Engine
from .champion import UNRELEASED, Served, released, unreleased
from .feedback import count_in
from .hot_swap import follow
from .http_server import listen
from .inference import WHY, answered, id_of, log, read, refused
from .journal import opened

WAITING = Gauge("waiting_requests", "Payloads that wait for their turn")
BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY = {"requestBody": {"required": True, "content": {kind: BINARY for kind in CONTENT_TYPES}}}
REFUSED: dict[int | str, dict[str, Any]] = {k: {"description": why} for k, why in WHY.items()}
KEY = APIKeyHeader(name="x-api-key", auto_error=False)


class Answer(BaseModel):
    """What a client gets back."""

    id: str
    label: str
    confidence: float
    model_sha256: str


@asynccontextmanager
async def _run(app: FastAPI) -> AsyncIterator[None]:
    state = app.state
    state.engine, state.trial = Engine(), None
    state.draining, state.bodies_bytes = False, 0
    state.journal = opened(rehearsal=state.served.release == UNRELEASED)
    for told in await state.journal.labelled(load_params().labelled_window):
        count_in(state, told)
    state.served.show()
    show_limits()
    WAITING.set_function(lambda: state.engine.waiting)
    gc.collect()
    gc.freeze()  # or each full collection looks at all that was imported, for tens of milliseconds
    log.info("ready", extra={"release": state.served.release})
    tasks = [asyncio.create_task(work) for work in (follow(state), state.journal.write())]
    yield
    for task in tasks:
        task.cancel()
    state.engine.close()
    state.journal.close()


NOT_FOR = f"Not for {load_scope().not_for}."
app = FastAPI(title=load_scope().project, description=NOT_FOR, lifespan=_run)
for router in (open_inference.router, feedback.router):
    app.include_router(router, dependencies=[Depends(KEY)])
app.include_router(status.router)


@app.post(
    "/predict",
    openapi_extra=BODY,
    responses=REFUSED,
    response_model=Answer,
    dependencies=[Depends(KEY)],
)
async def predict(request: Request) -> Response:
    """Answer one payload."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in CONTENT_TYPES:
        rule = f"one of {', '.join(CONTENT_TYPES)}"
        raise refused(415, Refusal("content-type", kind, rule, next(iter(CONTENT_TYPES))))
    payload = await read(request, MAX_PAYLOAD_BYTES)
    id = id_of(request)
    prediction, sha256 = await answered(request, id, payload)
    label, confidence = prediction.label, prediction.confidence
    answer = Answer(id=id, label=label, confidence=confidence, model_sha256=sha256)
    headers = {"x-request-id": id}
    return Response(answer.model_dump_json(), media_type="application/json", headers=headers)


async def direct(scope: Scope, receive: Receive, send: Send) -> None:
    """Call `predict` without FastAPI around it, which costs more than a small model."""
    if scope["type"] != "http" or (scope["method"], scope["path"]) != ("POST", "/predict"):
        return await app(scope, receive, send)
    try:
        response = await predict(Request({**scope, "app": app}, receive))
    except HTTPException as error:
        response = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
    if app.state.draining:
        response.headers["connection"] = "close"
    await response(scope, receive, send)


@app.get("/healthz")
async def healthz(request: Request) -> dict[str, str]:
    """Say that the process is alive; if not, it has to be started again."""
    if not request.app.state.engine.alive:
        raise HTTPException(500, "the worker has ended")
    return {"status": "alive"}


@app.get("/readyz")
async def readyz(request: Request) -> dict[str, str]:
    """Say that a model is loaded and warm, and which one."""
    served: Served = request.app.state.served
    if request.app.state.draining:
        raise HTTPException(503, "stopping", {"Connection": "close"})
    return {"release": served.release, "model_sha256": served.model.predictor.sha256}


@app.get("/metrics")
async def metrics() -> Response:
    """Show the numbers to Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def serve() -> None:
    """Answer with the champion, until told to stop.

    Raises:
        SystemExit: there is no champion, or it is unfit.
    """
    app.state.served = released()
    listen(direct, app.state)


def rehearse() -> None:
    """Answer with the model that was made last, released or not."""
    app.state.served = unreleased()
    listen(direct, app.state)
