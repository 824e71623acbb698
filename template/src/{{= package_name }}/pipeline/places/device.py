"""The decision loop of a device, in this process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def start() -> Iterator[Callable[[bytes], bool]]:
    """Yield a function that decides on a payload and returns whether the model decided."""
    # Imported when needed: the pipeline is a lower layer.
    loop = import_module("...device.loop", __package__)
    with loop.start_predictor() as decide:
        # Errors do not raise: the decision is then the label of `fail_safe`, with a reason.
        yield lambda payload: decide(payload).get("fail_safe") not in ("failed", "refused")
