"""What may be in memory at once fits the limits that `deploy/` sets: the numbers multiplied.

That an image needs no more than counted here is measured by the render's `tests/decoding`.
"""

import json
import re
from pathlib import Path

import pytest

from conftest import NINE, Render
from repository import done, run_in

UNITS = {"m": 2**20, "Mi": 2**20, "M": 2**20}
LIMIT = re.compile(r"(?:mem_limit: |limits: .*memory: |MemoryMax=)(\d+)(Mi|[mM])")
PROCESS_BYTES = 120_000_000  # Python, onnxruntime and a model of the bundled size
EXTRA_BYTES = 20_000_000  # copies of the payload, strips and facts of one image
NUMBERS = """
import json, sys
from importlib import import_module
from scratch_detector.task.features import MAX_PAYLOAD_BYTES
try:
    from scratch_detector.decoding.image import MAX_DECODED_BYTES
except ImportError:  # sounds and tables
    MAX_DECODED_BYTES = 0
numbers = {"MAX_DECODED_BYTES": MAX_DECODED_BYTES, "MAX_PAYLOAD_BYTES": MAX_PAYLOAD_BYTES}
for module, name in [argument.split(":") for argument in sys.argv[1:]]:
    numbers[name] = getattr(import_module(f"scratch_detector.{module}"), name)
print(json.dumps(numbers))
"""
SERVER = (
    *("serving.batching:DECODERS", "serving.batching:MAX_WAITING_BYTES"),
    "serving.inference:MAX_BODIES_BYTES",
)


def read_numbers(folder: Path, *names: str) -> dict[str, int]:
    numbers: dict[str, int] = json.loads(done(run_in(folder, "python", "-c", NUMBERS, *names)))
    return numbers


def read_limits(folder: Path, *paths: str) -> list[int]:
    """Return the memory limits of the server, or of the device, in bytes."""
    limits = []
    for path in paths:
        size, unit = LIMIT.findall((folder / path).read_text())[0]
        limits.append(int(size) * UNITS[unit])
    return limits


def decoding_bytes(numbers: dict[str, int]) -> int:
    """Return the memory for one input: of a sound or a row, 20 times the payload is ample."""
    return (numbers["MAX_DECODED_BYTES"] or 20 * numbers["MAX_PAYLOAD_BYTES"]) + EXTRA_BYTES


@pytest.mark.parametrize(("modality", "target"), NINE)
def test_inputs_in_flight_fit_the_memory_limits(modality: str, target: str, render: Render) -> None:
    folder = render(modality=modality, target=target)
    assert bool(read_numbers(folder)["MAX_DECODED_BYTES"]) == (modality == "image")
    if target != "edge":
        numbers = read_numbers(folder, *SERVER)
        # Decoding on the event loop adds one to the threads.
        decoding = (numbers["DECODERS"] + 1) * decoding_bytes(numbers)
        waiting = numbers["MAX_WAITING_BYTES"] + numbers["MAX_BODIES_BYTES"]
        files = (
            "deploy/compose.yaml",
            "deploy/kubernetes/deployment.yaml",
            "deploy/cloud-run.yaml",
        )
        assert PROCESS_BYTES + waiting + decoding <= min(read_limits(folder, *files))
    if target != "cloud":
        numbers = read_numbers(folder)
        (limit,) = read_limits(folder, "deploy/device/root/usr/lib/systemd/system/device.service")
        # One input is decoded at a time; up to four wait, with their decisions.
        assert PROCESS_BYTES + 4 * numbers["MAX_PAYLOAD_BYTES"] + decoding_bytes(numbers) <= limit
