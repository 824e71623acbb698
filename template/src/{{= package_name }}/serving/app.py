"""The prediction server as a FastAPI application.

A request passes through app -> inference -> batching -> predictor -> intake -> the model.
"""

import asyncio
import gc
import logging.config
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import Message, Receive, Send
from starlette.types import Scope as Connection

from ..monitoring.scope_limits import show_limits
from ..problem.answer import Predicted
from ..refusal import Refusal
from ..scope import Scope, load_scope
from ..settings import read_keys
from ..task.features import CONTENT_TYPES, MAX_PAYLOAD_BYTES
from . import feedback, open_inference, status
from .background import keep_running, log_uncaught_errors
from .browsers import add_headers, host_check
from .champion import UNRELEASED, Served, load_champion, load_latest
from .hot_swap import follow_rollout
from .http_server import LOGS, run_server
from .inference import (
    API_KEY,
    ERRORS,
    REFUSALS,
    authorize,
    check_worker,
    client_id,
    header,
    infer,
    latency_histogram,
    log,
    read_body,
    record,
    refuse,
    timeout_s,
)
from .journal import open_journal
from .settings import ServerSettings
from .state import ServerState, state_of

WAITING = Gauge("waiting_requests", "Requests in the batching queue")
BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY = {"requestBody": {"required": True, "content": {kind: BINARY for kind in CONTENT_TYPES}}}
NEEDS_KEY: dict[str, Any] = {"security": [{API_KEY.scheme_name: []}]}


class _WithId(BaseModel):
    id: str


class Answer(Predicted, _WithId):
    """The response to one payload."""

    model_sha256: str


RESPONSES: dict[int | str, dict[str, Any]] = {200: {"model": Answer}}
RESPONSES |= {status: {"description": why} for status, why in ERRORS.items()}


async def predict(request: Request) -> Response:
    """Return the answer of the model for one payload."""
    kind = header(request, b"content-type").partition(";")[0].strip().lower()
    if kind not in CONTENT_TYPES:
        rule = f"one of {', '.join(CONTENT_TYPES)}"
        raise refuse(415, Refusal("content-type", kind, rule, next(iter(CONTENT_TYPES))))
    authorize(request)
    payload = await read_body(request, MAX_PAYLOAD_BYTES)
    given = client_id(request)
    id = given or uuid4().hex
    prediction, served = await infer(request, payload, id, timeout_s(request))
    id = record(state_of(request), payload, prediction, served, id, is_new=not given)
    body = Answer(id=id, **prediction.answer, model_sha256=served.sha256)
    headers = {"x-request-id": id}
    return Response(body.model_dump_json(), media_type="application/json", headers=headers)


class DirectRoute(APIRoute):
    """A documented route that calls its endpoint directly.

    The endpoint checks the request and writes the response itself, because FastAPI's own handling
    takes more CPU time than a small model. Requests to a tabular model took 1.6 times (8 clients)
    and 1.8 times (64 clients) the CPU time with an ordinary route, and 1.2 times with this one
    behind FastAPI's middleware: `make bench-direct_route` in the template's repository, 2026-11-29.
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
    """FastAPI, but `/predict` bypasses the middleware, and draining closes connections."""

    check_host: Callable[[Connection], int]
    direct: DirectRoute  # also in `routes`: for the API docs, and 405 for other methods

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        state: ServerState = self.state.server
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        if state.is_draining:
            send = _add_connection_close(send)
        try:
            if status := self.check_host(scope):
                REFUSALS.labels(str(status)).inc()
                await JSONResponse({"detail": ERRORS[status]}, status)(scope, receive, send)
                return
            if (scope["method"], scope["path"]) == ("POST", "/predict"):
                scope["app"] = self
                await self.direct.run(scope, receive, send)
                return
            send = add_headers(send)
            if scope["method"] == "HEAD":  # uvicorn omits the body
                await super().__call__(dict(scope, method="GET"), receive, send)
            else:
                await super().__call__(scope, receive, send)
        except Exception:  # a bug; uvicorn logs it and responds with 500
            REFUSALS.labels("500").inc()
            raise


def _add_connection_close(send: Send) -> Send:
    """Ask clients to reconnect; a load balancer then sends them to another server."""

    async def send_and_close(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return send_and_close


async def healthz(request: Request) -> dict[str, str]:
    """Return 200 while the worker thread runs. If it does not, restart the process."""
    check_worker(state_of(request))
    return {"status": "alive"}


async def readyz(request: Request) -> dict[str, str]:
    """Return 200 with the release in use, or 503 while the server is stopping."""
    state = state_of(request)
    if state.is_draining:
        raise HTTPException(503, "stopping")
    return {"release": state.served.release, "model_sha256": state.served.sha256}


async def metrics() -> Response:
    """Return the metrics in the text format of Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def respond_to_http_error(request: Request, error: Exception) -> Response:
    """Return an error in the format of the protocol that the client uses."""
    status, detail, headers = 500, "Internal Server Error", None  # the log has the exception
    if isinstance(error, StarletteHTTPException):
        status, detail, headers = error.status_code, error.detail, error.headers
    if open_inference.is_about(request):
        return open_inference.error_response(status, detail, headers)
    return JSONResponse({"detail": detail}, status, headers)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state: ServerState = app.state.server
    state.batcher.start()
    try:
        await feedback.fill_windows(state)
    except sqlite3.Error as error:  # locked; the windows fill with new labels
        log.error("cannot read the journal", extra={"reason": str(error)})
    state.served.show()
    show_limits()
    WAITING.set_function(lambda: state.batcher.queue_length)
    # Exempt imported objects from garbage collection: a full collection of them takes tens of
    # milliseconds.
    gc.collect()
    gc.freeze()
    jobs = {
        "rollout": lambda: follow_rollout(state),
        "journal": state.journal.write_regularly,
        "labels": lambda: feedback.follow_deletions(state),
        "limits": lambda: status.watch_limits(state),
    }
    tasks = [asyncio.create_task(keep_running(name, job)) for name, job in jobs.items()]
    yield
    for task in tasks:
        task.cancel()
    state.batcher.close()
    state.journal.close()


def create_app(scope: Scope, settings: ServerSettings, served: Served) -> PredictionServer:
    """Create the application for a loaded model.

    Raises:
        SystemExit: the setting for API keys contains no key.
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
    app.check_host = host_check(settings.allowed_hosts, settings.host)
    app.direct = DirectRoute(
        "/predict", predict, methods=["POST"], openapi_extra=BODY | NEEDS_KEY, responses=RESPONSES
    )
    app.routes.append(app.direct)
    app.add_exception_handler(StarletteHTTPException, respond_to_http_error)
    app.add_exception_handler(Exception, respond_to_http_error)
    app.include_router(open_inference.create_router(scope.project))
    app.include_router(feedback.router)
    app.include_router(status.router)
    app.add_api_route("/healthz", healthz)
    app.add_api_route("/readyz", readyz)
    app.add_api_route("/metrics", metrics, response_class=PlainTextResponse)
    return app


def serve() -> None:
    """Serve the champion.

    Raises:
        SystemExit: there is no champion, or its release is invalid.
    """
    _run(load_champion)


def rehearse() -> None:
    """Serve the latest model, released or not."""
    _run(load_latest)


def _run(load: Callable[[], Served]) -> None:
    settings = ServerSettings.read()  # first, so that a wrong setting fails before the model loads
    logging.config.dictConfig(LOGS)
    log_uncaught_errors()
    app = create_app(load_scope(), settings, load())
    run_server(app, app.state.server, settings)
