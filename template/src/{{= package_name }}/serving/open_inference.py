"""The Open Inference Protocol v2, which clients of KServe, Triton and MLServer speak.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol, with the
binary tensor extension. The one input is `payload`: bytes as `/predict` takes them, so that these
clients, too, pass the contract and cannot compute features that training did not.
"""

import asyncio
import json
import struct
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response

from ..scope import load_scope
from ..task.features import MAX_PAYLOAD_BYTES
from .inference import answered, id_of, read

MAX_PAYLOADS, MAX_BYTES = 64, 4 * MAX_PAYLOAD_BYTES
HEADER = "inference-header-content-length"
NAME = load_scope().project
INPUTS = [{"name": "payload", "datatype": "BYTES", "shape": [-1]}]
OUTPUTS = [
    {"name": "label", "datatype": "BYTES", "shape": [-1]},
    {"name": "confidence", "datatype": "FP32", "shape": [-1]},
]
MODEL = f"/models/{NAME}"
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
router = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])


@router.get("")
async def server() -> dict[str, Any]:
    """Say what this server speaks."""
    return {"name": NAME, "version": "2", "extensions": ["binary_tensor_data"]}


@router.get("/health/live")
async def live(request: Request) -> dict[str, bool]:
    """Say that the process is alive."""
    if not request.app.state.engine.alive:
        raise HTTPException(500, "the worker has ended")
    return {"live": True}


@router.get("/health/ready")
async def ready(request: Request) -> dict[str, bool]:
    """Say that a model is loaded and warm."""
    if request.app.state.draining:
        raise HTTPException(503, "stopping")
    return {"ready": True}


@router.get(f"{MODEL}/ready")
async def model_ready(request: Request) -> dict[str, bool]:
    """Say the same of the one model there is."""
    return await ready(request)


@router.get(MODEL)
async def metadata(request: Request) -> dict[str, Any]:
    """Say what goes in and what comes out."""
    version = request.app.state.served.model.predictor.sha256[:12]
    tensors = {"inputs": INPUTS, "outputs": OUTPUTS}
    return {"name": NAME, "versions": [version], "platform": "onnxruntime_onnx"} | tensors


@router.post(f"{MODEL}/infer", openapi_extra=BODY)
async def infer(request: Request) -> Response:
    """Answer a tensor of payloads."""
    body = await read(request, MAX_BYTES)
    try:
        head = int(request.headers.get(HEADER, len(body)))
        document = json.loads(body[:head])
        payloads = list(_payloads(document["inputs"], body[head:]))
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        rule = f"one input `payload` of type BYTES and shape [1] to [{MAX_PAYLOADS}]"
        raise HTTPException(400, f"expected {rule}, in JSON or as binary data: {error}") from None
    id = id_of(request)
    results = await asyncio.gather(*(answered(request, id, payload) for payload in payloads))
    version = results[0][1][:12]
    labels = [prediction.label for prediction, _ in results]
    confidences = [prediction.confidence for prediction, _ in results]
    outputs: list[dict[str, Any]] = [
        spec | {"shape": [len(results)], "data": data}
        for spec, data in zip(OUTPUTS, (labels, confidences), strict=True)
    ]
    answer = {"model_name": NAME, "model_version": version, "id": str(document.get("id", ""))}
    tail = _packed(outputs, document)
    text = json.dumps(answer | {"outputs": outputs}).encode()
    if not tail:
        return Response(text, media_type="application/json")
    headers = {HEADER: str(len(text))}
    return Response(text + tail, media_type="application/octet-stream", headers=headers)


def _payloads(inputs: list[dict[str, Any]], tail: bytes) -> Iterator[bytes]:
    """Yield the payloads of a request; binary ones have their length before each, in 4 bytes."""
    (tensor,) = inputs
    (count,) = tensor["shape"]
    size = tensor.get("parameters", {}).get("binary_data_size")
    if (tensor["name"], tensor["datatype"]) != (
        "payload",
        "BYTES",
    ) or not 0 < count <= MAX_PAYLOADS:
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
            raise ValueError("an element is cut short")
        at += 4 + length
        yield payload
    if at != size or at != len(tail):
        raise ValueError(f"{len(tail)} bytes of binary data, but {size} announced and {at} used")


def _packed(outputs: list[dict[str, Any]], document: dict[str, Any]) -> bytes:
    """Move the data of those outputs into binary that were asked for so; return the binary."""
    asked = {output["name"]: output.get("parameters", {}) for output in document.get("outputs", [])}
    always, tail = document.get("parameters", {}).get("binary_data_output", False), b""
    for output in outputs:
        if asked.get(output["name"], {}).get("binary_data", always):
            data = output.pop("data")
            elements = [text.encode() for text in data] if output["datatype"] == "BYTES" else []
            binary = b"".join(struct.pack("<I", len(e)) + e for e in elements)
            binary = binary or struct.pack(f"<{len(data)}f", *data)
            output["parameters"] = {"binary_data_size": len(binary)}
            tail += binary
    return tail
