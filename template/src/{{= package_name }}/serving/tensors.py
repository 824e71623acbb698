"""Output tensors of the Open Inference Protocol: their elements in JSON and as binary data."""

import struct
from itertools import chain
from typing import Any


def flatten(elements: list[Any]) -> tuple[list[int], list[Any]]:
    """Return the shape of a tensor, and its elements in row-major order."""
    if not isinstance(elements[0], list):
        return [len(elements)], elements
    return [len(elements), len(elements[0])], list(chain.from_iterable(elements))


def move_to_binary(output: dict[str, Any]) -> bytes:
    """Remove the data of an output, and return it in binary form."""
    data = output.pop("data")
    if output["datatype"] == "BYTES":
        elements = [text.encode() for text in data]
        binary = b"".join(struct.pack("<I", len(e)) + e for e in elements)
    else:
        binary = struct.pack(f"<{len(data)}f", *data)
    output["parameters"] = {"binary_data_size": len(binary)}
    return binary
