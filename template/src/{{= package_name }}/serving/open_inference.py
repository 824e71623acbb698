"""The Open Inference Protocol v2, for clients of KServe, Triton and MLServer.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol, with the
binary tensor extension. The only input is `payload`: the same bytes that `/predict` accepts. They
pass the same validation, and the server computes the features.
"""

import asyncio
import json
import struct
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from ..refusal import parse_json
from ..task.features import MAX_PAYLOAD_BYTES
from .inference import infer, read_body, request_id, require_key
from .state import state_of

MAX_PAYLOADS = 64  # per request; more would displace other clients from the queue
MAX_BYTES = 4 * MAX_PAYLOAD_BYTES  # many small payloads, or four of the maximum size
INVALID = (ValueError, KeyError, TypeError, AttributeError, RecursionError)  # what a request causes
HEADER = "inference-header-content-length"
INPUTS = [{"name": "payload", "datatype": "BYTES", "shape": [-1]}]
OUTPUTS = [
    {"name": "label", "datatype": "BYTES", "shape": [-1]},
    {"name": "confidence", "datatype": "FP32", "shape": [-1]},
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
}
REQUEST = {"type": "object", "properties": {"inputs": TENSORS}, "required": ["inputs"]}
BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": REQUEST}}}}


def create_router(project: str) -> APIRouter:
    """Return the routes for the model, which is named like the project."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])
    model = f"/models/{project}"
    keys = [Depends(require_key)]
    # The names are part of the operation ids in `/openapi.json`.
    router.add_api_route("", server_metadata)
    router.add_api_route("/health/live", check_liveness, name="live")
    router.add_api_route("/health/ready", check_readiness, name="ready")
    router.add_api_route(f"{model}/ready", check_model_readiness, name="model_ready")
    router.add_api_route(model, model_metadata)
    router.add_api_route(
        f"{model}/infer", infer_tensor, methods=["POST"], openapi_extra=BODY, dependencies=keys
    )
    return router


async def server_metadata(request: Request) -> dict[str, Any]:
    """Return the name, the version of the protocol and its extensions."""
    name = state_of(request).scope.project
    return {"name": name, "version": "2", "extensions": ["binary_tensor_data"]}


async def check_liveness(request: Request) -> dict[str, bool]:
    """Return 200 while the worker thread runs."""
    if not state_of(request).batcher.is_alive:
        raise HTTPException(500, "the worker thread has stopped")
    return {"live": True}


async def check_readiness(request: Request) -> dict[str, bool]:
    """Return 200, or 503 while the server is stopping."""
    if state_of(request).is_draining:
        raise HTTPException(503, "stopping")
    return {"ready": True}


async def check_model_readiness(request: Request) -> dict[str, bool]:
    """Return 200, or 503 while the server is stopping."""
    return await check_readiness(request)


async def model_metadata(request: Request) -> dict[str, Any]:
    """Return the inputs and outputs of the model."""
    state = state_of(request)
    about = {"versions": [state.served.sha256[:12]], "platform": "onnxruntime_onnx"}
    return {"name": state.scope.project} | about | {"inputs": INPUTS, "outputs": OUTPUTS}


async def infer_tensor(request: Request) -> Response:
    """Return labels and confidences for a tensor of payloads."""
    body = await read_body(request, MAX_BYTES)
    try:
        head = int(request.headers.get(HEADER, len(body)))
        document = parse_json(body[:head])
        payloads = list(_payloads(document["inputs"], body[head:]))
    except (*INVALID, struct.error) as error:
        rule = f"one input `payload` of type BYTES and shape [1] to [{MAX_PAYLOADS}]"
        raise HTTPException(400, f"expected {rule}, in JSON or as binary data: {error}") from None
    id = request_id(request)
    results = await asyncio.gather(*(infer(request, id, payload) for payload in payloads))
    version = results[0][1][:12]
    labels = [prediction.label for prediction, _ in results]
    confidences = [prediction.confidence for prediction, _ in results]
    outputs: list[dict[str, Any]] = [
        spec | {"shape": [len(results)], "data": data}
        for spec, data in zip(OUTPUTS, (labels, confidences), strict=True)
    ]
    project = state_of(request).scope.project
    response = {"model_name": project, "model_version": version, "id": str(document.get("id", ""))}
    tail = _move_to_binary(outputs, document)
    text = json.dumps(response | {"outputs": outputs}).encode()
    if not tail:
        return Response(text, media_type="application/json")
    headers = {HEADER: str(len(text))}
    return Response(text + tail, media_type="application/octet-stream", headers=headers)


def _payloads(inputs: list[dict[str, Any]], tail: bytes) -> Iterator[bytes]:
    """Yield the payloads of a request. In binary data, 4 bytes before each one are its length."""
    (tensor,) = inputs
    (count,) = tensor["shape"]
    size = tensor.get("parameters", {}).get("binary_data_size")
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


def _move_to_binary(outputs: list[dict[str, Any]], document: dict[str, Any]) -> bytes:
    """Remove the data of the outputs that the client requests as binary, and return it."""
    requested = {
        output["name"]: output.get("parameters", {}) for output in document.get("outputs", [])
    }
    by_default = document.get("parameters", {}).get("binary_data_output", False)
    tail = b""
    for output in outputs:
        if requested.get(output["name"], {}).get("binary_data", by_default):
            data = output.pop("data")
            elements = [text.encode() for text in data] if output["datatype"] == "BYTES" else []
            binary = b"".join(struct.pack("<I", len(e)) + e for e in elements)
            binary = binary or struct.pack(f"<{len(data)}f", *data)
            output["parameters"] = {"binary_data_size": len(binary)}
            tail += binary
    return tail
