"""The prediction server: a process on this machine, over HTTP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def start() -> Iterator[Callable[[bytes], bool]]:
    """Yield a function that sends a payload and returns whether the server predicted."""
    # Imported when needed: the pipeline is a lower layer.
    client = import_module("...serving.client", __package__)
    with client.start_predictor() as predict:

        def succeeds(payload: bytes) -> bool:
            try:
                predict(payload)
            except SystemExit:  # the status was not 200
                return False
            return True

        yield succeeds
