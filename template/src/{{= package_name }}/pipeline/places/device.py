"""The decision loop of a device, in this process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...device.loop import start_predictor


@contextmanager
def start() -> Iterator[Callable[[bytes], bool]]:
    """Yield a function that decides on a payload and returns whether the model decided."""
    with start_predictor() as decide:
        # Errors do not raise: the decision is then the label of `fail_safe`, with a reason.
        yield lambda payload: decide(payload).get("fail_safe") not in ("failed", "refused")
