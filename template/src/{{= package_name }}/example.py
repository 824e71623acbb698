"""One held-out payload in a file, to try the server or the device with."""

from pathlib import Path

from .artifacts import RAW
from .examples import read_shards, split_of
from .task.features import CONTENT_TYPES


def example() -> None:
    """Write the payload, and print its label and how to send it."""
    chosen = next(e for e in read_shards(RAW) if split_of(e.id) == "test")
    kind, suffix = next(iter(CONTENT_TYPES.items()))
    path = Path("data") / f"example{suffix}"
    path.write_bytes(chosen.payload)
    print(f"{path} is {chosen.label}. Send it to a server, or drop it into data/inbox:")
    print(f"  curl -H 'content-type: {kind}' --data-binary @{path} 127.0.0.1:8000/predict")
