"""The prediction server: payload bytes in, a prediction out."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from pydantic import BaseModel
from starlette.types import Message, Receive, Send
from starlette.types import Scope as Connection

from ..monitoring.scope_limits import show_limits
from ..refusal import Refusal
from ..scope import Scope, load_params, load_scope
from ..settings import read_keys
from ..task.features import CONTENT_TYPES, MAX_PAYLOAD_BYTES
from . import feedback, open_inference, status
from .champion import UNRELEASED, Served, load_champion, load_latest
from .feedback import record_label
from .hot_swap import follow_rollout
from .http_server import run_server
from .inference import (
    API_KEY,
    ERRORS,
    authorize,
    infer,
    latency_histogram,
    log,
    read_body,
    refuse,
    request_id,
)
from .journal import open_journal
from .settings import ServerSettings
from .state import ServerState, state_of

WAITING = Gauge("waiting_requests", "Payloads in the queue of the batcher")
BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY = {"requestBody": {"required": True, "content": {kind: BINARY for kind in CONTENT_TYPES}}}
NEEDS_KEY: dict[str, Any] = {"security": [{API_KEY.scheme_name: []}]}


class Answer(BaseModel):
    """The answer to one payload."""

    id: str
    label: str
    confidence: float
    model_sha256: str


RESPONSES: dict[int | str, dict[str, Any]] = {200: {"model": Answer}}
RESPONSES |= {status: {"description": why} for status, why in ERRORS.items()}


async def predict(request: Request) -> Response:
    """Answer one payload."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in CONTENT_TYPES:
        rule = f"one of {', '.join(CONTENT_TYPES)}"
        raise refuse(415, Refusal("content-type", kind, rule, next(iter(CONTENT_TYPES))))
    authorize(request)
    payload = await read_body(request, MAX_PAYLOAD_BYTES)
    id = request_id(request)
    prediction, sha256 = await infer(request, id, payload)
    label, confidence = prediction.label, prediction.confidence
    answer = Answer(id=id, label=label, confidence=confidence, model_sha256=sha256)
    headers = {"x-request-id": id}
    return Response(answer.model_dump_json(), media_type="application/json", headers=headers)


class DirectRoute(APIRoute):
    """A documented route that runs its endpoint and nothing else.

    The endpoint checks the request and writes the response itself, as FastAPI's own handling costs
    more than a small model. Whole requests for a table took 1.6 (8 clients) and 1.8 (64 clients)
    times the CPU with an ordinary route, and 1.2 times with this one behind FastAPI's middleware:
    `make bench-direct_route` in the repository of the template, 2026-11-29.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = self.run

    async def run(self, connection: Connection, receive: Receive, send: Send) -> None:
        try:
            response = await self.endpoint(Request(connection, receive))
        except HTTPException as error:
            response = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
        await response(connection, receive, send)


class PredictionServer(FastAPI):
    """FastAPI, except that `/predict` skips its middleware and a drain closes connections."""

    direct: DirectRoute  # also one of `routes`, so that it is documented and other methods get 405

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        state: ServerState = self.state.server
        if state.is_draining:
            send = _add_connection_close(send)
        if scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", "/predict"):
            scope["app"] = self
            await self.direct.run(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def _add_connection_close(send: Send) -> Send:
    """Tell clients to open a new connection, which goes to a server that is not stopping."""

    async def send_and_close(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return send_and_close


async def healthz(request: Request) -> dict[str, str]:
    """Whether the process is alive; if not, restart it."""
    if not state_of(request).batcher.is_alive:
        raise HTTPException(500, "the worker has ended")
    return {"status": "alive"}


async def readyz(request: Request) -> dict[str, str]:
    """Whether a model is loaded and warm, and which one."""
    state = state_of(request)
    if state.is_draining:
        raise HTTPException(503, "stopping")
    return {"release": state.served.release, "model_sha256": state.served.sha256}


async def metrics() -> Response:
    """Metrics for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state: ServerState = app.state.server
    state.batcher.start()
    for labelled in await state.journal.read_labelled(load_params().labelled_window):
        record_label(state, labelled)
    state.served.show()
    show_limits()
    WAITING.set_function(lambda: state.batcher.queue_length)
    # Freeze imported objects so that garbage collection skips them: otherwise each full collection
    # takes tens of milliseconds.
    gc.collect()
    gc.freeze()
    log.info("ready", extra={"release": state.served.release})
    work = (follow_rollout(state), state.journal.write_regularly())
    tasks = [asyncio.create_task(one) for one in work]
    yield
    for task in tasks:
        task.cancel()
    state.batcher.close()
    state.journal.close()


def create_app(scope: Scope, settings: ServerSettings, served: Served) -> PredictionServer:
    """Return the application, which answers with a loaded model.

    Raises:
        SystemExit: API keys are configured, but there are none.
    """
    not_for = f"Not for {scope.not_for}."
    app = PredictionServer(title=scope.project, description=not_for, lifespan=_lifespan)
    app.state.server = ServerState(
        scope=scope,
        keys=read_keys("API_KEYS", settings.api_keys, settings.api_keys_file),
        served=served,
        journal=open_journal(is_rehearsal=served.release == UNRELEASED),
        latency=latency_histogram(scope.max_latency_p95_s),
    )
    app.direct = DirectRoute(
        "/predict", predict, methods=["POST"], openapi_extra=BODY | NEEDS_KEY, responses=RESPONSES
    )
    app.routes.append(app.direct)
    app.include_router(open_inference.create_router(scope.project))
    app.include_router(feedback.router)
    app.include_router(status.router)
    app.add_api_route("/healthz", healthz)
    app.add_api_route("/readyz", readyz)
    app.add_api_route("/metrics", metrics)
    return app


def serve() -> None:
    """Serve the champion.

    Raises:
        SystemExit: there is no champion, or it is unfit.
    """
    _run(load_champion)


def rehearse() -> None:
    """Serve the latest model, released or not."""
    _run(load_latest)


def _run(load: Callable[[], Served]) -> None:
    settings = ServerSettings.read()  # first, because loading a model takes longer
    app = create_app(load_scope(), settings, load())
    run_server(app, app.state.server, settings)
