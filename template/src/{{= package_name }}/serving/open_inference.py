"""The Open Inference Protocol v2, for clients of KServe, Triton and MLServer.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol, with the
binary tensor extension. The only input is `payload`: the same bytes that `/predict` accepts. They
pass the same validation, and the server computes the features.
"""

import asyncio
import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from ..predictor import Prediction
from ..problem.answer import TENSOR_SHAPE, to_tensors
from ..problem.answer import TENSORS as ANSWER_TENSORS
from ..refusal import parse_json
from ..task.features import MAX_PAYLOAD_BYTES
from .champion import Served
from .inference import (
    ERRORS,
    REFUSALS,
    REQUEST_ID,
    check_worker,
    client_id,
    infer,
    printable,
    read_body,
    record,
    refuse_simple_type,
    require_key,
    timeout_s,
)
from .state import state_of
from .tensors import flatten, move_to_binary

MAX_PAYLOADS = 64  # per request; more would displace other clients from the queue
MAX_BYTES = 4 * MAX_PAYLOAD_BYTES  # many small payloads, or four of the maximum size
INVALID = (ValueError, KeyError, TypeError, AttributeError, RecursionError)  # what a request causes
MAX_REASON = 300  # characters of an error: clients may send very long names
MAX_BASE = 60  # characters of an id to which the number of a payload is added
HEADER = "inference-header-content-length"
INPUTS = [{"name": "payload", "datatype": "BYTES", "shape": [-1]}]
OUTPUTS: list[dict[str, Any]] = [
    {"name": name, "datatype": datatype, "shape": TENSOR_SHAPE} for name, datatype in ANSWER_TENSORS
]
TENSOR = {
    "name": {"const": "payload"},
    "datatype": {"const": "BYTES"},
    "shape": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 1},
    "data": {"type": "array", "items": {"type": "string"}},
}
TENSORS = {
    "type": "array",
    "items": {"type": "object", "properties": TENSOR, "required": [*TENSOR]},
    "minItems": 1,
    "maxItems": 1,
}
OUTPUT = {
    "type": "object",
    "properties": {
        "name": {"enum": [output["name"] for output in OUTPUTS]},
        "parameters": {"type": "object", "properties": {"binary_data": {"type": "boolean"}}},
    },
    "required": ["name"],
}
PROPERTIES = {
    "id": {"type": "string"},
    "inputs": TENSORS,
    "outputs": {"type": "array", "items": OUTPUT},
    "parameters": {"type": "object", "properties": {"binary_data_output": {"type": "boolean"}}},
}
REQUEST = {"type": "object", "properties": PROPERTIES, "required": ["inputs"]}
BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": REQUEST}}}}

RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": why} for status, why in (ERRORS | {400: "not such a tensor"}).items()
}
UNHEALTHY: dict[int | str, dict[str, Any]] = {
    500: {"description": "a thread has stopped"},
    503: {"description": "stopping"},
}


def create_router(project: str) -> APIRouter:
    """Return the routes for the model, which is named like the project."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])
    model = f"/models/{project}"
    version = f"{model}/versions/{{version}}"
    post: dict[str, Any] = {
        "methods": ["POST"],
        "openapi_extra": BODY,
        "dependencies": [Depends(require_key)],
        "responses": RESPONSES,
    }
    # The names are part of the operation ids in `/openapi.json`.
    router.add_api_route("", server_metadata)
    router.add_api_route("/health/live", check_liveness, name="live", responses=UNHEALTHY)
    router.add_api_route("/health/ready", check_readiness, name="ready", responses=UNHEALTHY)
    router.add_api_route(f"{model}/ready", check_model_readiness, name="model_ready")
    router.add_api_route(model, model_metadata)
    router.add_api_route(f"{model}/infer", infer_tensor, **post)
    router.add_api_route(f"{version}/ready", check_version_readiness, name="version_ready")
    router.add_api_route(version, version_metadata)
    router.add_api_route(f"{version}/infer", infer_tensor_with_version, **post)
    return router


def is_about(request: Request) -> bool:
    """Return whether a request uses this protocol."""
    return request.url.path.startswith("/v2")


def error_response(status: int, detail: Any, headers: Mapping[str, str] | None) -> Response:
    """Return an error in the format of the protocol."""
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        first = detail[0]
        detail = f"{first['field']}: got {first['value']}; {first['rule']}"
        detail += f", for example {first['example']}"
    return JSONResponse({"error": str(detail)}, status, headers)


async def server_metadata(request: Request) -> dict[str, Any]:
    """Return the name, the version of the protocol and its extensions."""
    name = state_of(request).scope.project
    return {"name": name, "version": "2", "extensions": ["binary_tensor_data"]}


async def check_liveness(request: Request) -> dict[str, bool]:
    """Return 200 while the worker thread runs."""
    check_worker(state_of(request))
    return {"live": True}


async def check_readiness(request: Request) -> dict[str, bool]:
    """Return 200, or 503 while the server is stopping."""
    if state_of(request).is_draining:
        raise HTTPException(503, "stopping")
    return {"ready": True}


async def check_model_readiness(request: Request) -> dict[str, bool]:
    """Return 200, or 503 while the server is stopping."""
    return await check_readiness(request)


async def check_version_readiness(request: Request, version: str) -> dict[str, bool]:
    """Return 200, 503 while the server is stopping, or 404 for a version that is not in use."""
    _check_version(request, version)
    return await check_readiness(request)


async def model_metadata(request: Request) -> dict[str, Any]:
    """Return the inputs and outputs of the model."""
    state = state_of(request)
    about = {"versions": [state.served.sha256[:12]], "platform": "onnxruntime_onnx"}
    return {"name": state.scope.project} | about | {"inputs": INPUTS, "outputs": OUTPUTS}


async def version_metadata(request: Request, version: str) -> dict[str, Any]:
    """Return the inputs and outputs of the model, or 404 for a version that is not in use."""
    _check_version(request, version)
    return await model_metadata(request)


async def infer_tensor(request: Request) -> Response:
    """Return the answers for a tensor of payloads."""
    return await _infer(request, champion_only=False)


async def infer_tensor_with_version(request: Request, version: str) -> Response:
    """Return the answers of this version, or 404 if it is not in use."""
    _check_version(request, version)
    return await _infer(request, champion_only=True)


def _check_version(request: Request, version: str) -> None:
    in_use = state_of(request).served.sha256[:12]
    if version != in_use:
        REFUSALS.labels("404").inc()
        raise HTTPException(404, f"version {printable(version)!r} is not in use; {in_use} is")


async def _infer(request: Request, champion_only: bool) -> Response:
    state = state_of(request)
    refuse_simple_type(request)
    body = await read_body(request, MAX_BYTES)
    try:
        head = int(request.headers.get(HEADER, len(body)))
        document = parse_json(body[:head])
        payloads = list(_payloads(document["inputs"], body[head:]))
        requested = _requested_outputs(document)
    except (*INVALID, struct.error) as error:
        rule = f"one input `payload` of type BYTES and shape [1] to [{MAX_PAYLOADS}], "
        rule += "and outputs among " + " and ".join(f"`{name}`" for name, _ in ANSWER_TENSORS)
        why = printable(str(error))[:MAX_REASON]
        REFUSALS.labels("400").inc()
        wanted = f"expected {rule}, in JSON or as binary data"
        raise HTTPException(400, f"{wanted}: {why}") from None
    given = "" if document.get("id") is None else printable(str(document["id"]))
    base = given if REQUEST_ID.fullmatch(given) else client_id(request)
    is_new = not base or len(payloads) > 1 and len(base) > MAX_BASE
    base = uuid4().hex if is_new else base
    ids = [base] if len(payloads) == 1 else [f"{base}.{i}" for i in range(len(payloads))]
    within_s = timeout_s(request)
    tasks = [
        infer(request, payload, id, within_s, champion_only)
        for payload, id in zip(payloads, ids, strict=True)
    ]
    # Only what is answered is counted and recorded: wait for all before the first error is sent.
    results: list[tuple[Prediction, Served]] = []
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    ids = [
        record(state, payload, *result, id, is_new)
        for payload, result, id in zip(payloads, results, ids, strict=True)
    ]
    elements = [to_tensors(prediction.answer) for prediction, _ in results]
    data = {name: [each[name] for each in elements] for name, _ in ANSWER_TENSORS}
    outputs = []
    tail = b""
    for spec in OUTPUTS:
        if (is_binary := requested.get(spec["name"])) is not None:
            shape, flat = flatten(data[spec["name"]])
            output = spec | {"shape": shape, "data": flat}
            tail += move_to_binary(output) if is_binary else b""
            outputs.append(output)
    response = {
        "model_name": state.scope.project,
        "model_version": results[0][1].sha256[:12],
        "id": given or base,
        "parameters": {"request_ids": " ".join(ids)},  # for labels and deletion
        "outputs": outputs,
    }
    text = json.dumps(response).encode()
    headers = {"x-request-id": ",".join(ids)}
    if not tail:
        return Response(text, media_type="application/json", headers=headers)
    headers[HEADER] = str(len(text))
    return Response(text + tail, media_type="application/octet-stream", headers=headers)


def _payloads(inputs: list[dict[str, Any]], tail: bytes) -> Iterator[bytes]:
    """Yield the payloads of a request. In binary data, 4 bytes before each one are its length."""
    (tensor,) = inputs
    (count,) = tensor["shape"]
    size = _parameters(tensor).get("binary_data_size")
    is_payload = (tensor["name"], tensor["datatype"]) == ("payload", "BYTES")
    if not is_payload or not 0 < count <= MAX_PAYLOADS:
        raise ValueError(f"got {tensor['name']} of {tensor['datatype']} {tensor['shape']}")
    if size is None:
        if len(tensor["data"]) != count:
            raise ValueError(f"{len(tensor['data'])} elements, but shape [{count}]")
        yield from (text.encode() for text in tensor["data"])
        return
    at = 0
    for _ in range(count):
        (length,) = struct.unpack_from("<I", tail, at)
        payload = tail[at + 4 : at + 4 + length]
        if len(payload) != length:
            raise ValueError("an element is truncated")
        at += 4 + length
        yield payload
    if at != size or at != len(tail):
        raise ValueError(f"{len(tail)} bytes of binary data, but {size} declared and {at} used")


def _requested_outputs(document: dict[str, Any]) -> dict[str, bool]:
    """Return the names of the requested outputs, and whether each is sent as binary data."""
    by_default = _parameters(document).get("binary_data_output", False)
    names = [spec["name"] for spec in OUTPUTS]
    requested = {}
    for output in document.get("outputs") or [{"name": name} for name in names]:
        if output["name"] not in names:
            raise ValueError(f"output {output['name']!r}; there are {' and '.join(names)}")
        requested[output["name"]] = bool(_parameters(output).get("binary_data", by_default))
    return requested


def _parameters(part: dict[str, Any]) -> dict[str, Any]:
    parameters = part.get("parameters")
    if not isinstance(parameters, dict | None):
        raise TypeError(f"parameters {parameters!r}, not an object")
    return parameters or {}
