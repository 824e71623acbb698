"""The prediction server: a process on this machine, over HTTP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...serving.client import start_predictor


@contextmanager
def start() -> Iterator[Callable[[bytes], bool]]:
    """Yield a function that sends a payload and returns whether the server predicted."""
    with start_predictor() as predict:

        def succeeds(payload: bytes) -> bool:
            try:
                predict(payload)
            except SystemExit:  # the status was not 200
                return False
            return True

        yield succeeds
