"""Refuses ONNX models with weights in other files, which no signature covers."""

from collections.abc import Iterator

# The fields of ONNX messages that may contain a tensor, by number (onnx.proto3).
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of a tensor; the location 0 is the model itself
_BYTES = 2  # the wire type of texts, messages and packed numbers
_FIXED_LENGTHS = {1: 8, 5: 4}  # in bytes, by wire type


def refuse_external_data(model: bytes) -> None:
    """Stop if a tensor of an ONNX model is in another file, which no signature covers.

    onnxruntime reads such files from the working directory. The package `onnx` is not installed
    where models run, so this reads the few fields of the format that matter.

    Raises:
        ValueError: the model refers to another file, or is damaged.
    """
    messages = [("model", memoryview(model))]
    while messages:
        kind, message = messages.pop()
        for field, value in _fields(message):
            if kind == "tensor" and field in (_EXTERNAL_DATA, _DATA_LOCATION) and value:
                raise ValueError("has weights in another file; save it as one file")
            if (inside := _INSIDE[kind].get(field)) and isinstance(value, memoryview):
                messages.append((inside, value))


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a protobuf message."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        tag &= 2**32 - 1  # as protobuf does
        wire_type = tag & 7
        if wire_type == 0:
            number, place = _varint(message, place)
            yield tag >> 3, number
            continue
        if wire_type == _BYTES:
            length, place = _varint(message, place)
        elif wire_type in _FIXED_LENGTHS:
            length = _FIXED_LENGTHS[wire_type]
        else:
            raise ValueError(f"protobuf wire type {wire_type}")
        if length > len(message) - place:
            raise ValueError("it is cut off")
        yield tag >> 3, message[place : place + length]
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """Return a number of up to 64 bits, in groups of 7 bits, and the place behind it."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
    raise ValueError("it is cut off")
