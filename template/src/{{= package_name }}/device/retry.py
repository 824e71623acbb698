"""Background work with exponential backoff."""

import random
from collections.abc import Callable
from threading import Event

POLL_S = 1  # interval between polls of an empty queue, so a decision is sent within about 1 s
# The first pauses are short, because most failures are lost packets or restarts. The cap of 60 s
# bounds the delay after the network has recovered.
BASE_S = 1
CAP_S = 60


def keep_working(
    stop: Event, work: Callable[[], bool], count_failure: Callable[[Exception], None]
) -> None:
    """Call `work` until stopped: again at once if it returned True, else after a pause."""
    failures = 0
    pause_s = 0.0
    while not stop.wait(pause_s):
        try:
            pause_s = 0 if work() else POLL_S
            failures = 0
        except Exception as error:  # no failure of a network or server may end the thread
            count_failure(error)
            pause_s = backoff_s(failures)
            failures += 1


def backoff_s(failures: int) -> float:
    """Return a random pause, so that the devices of a fleet do not all retry at the same time.

    Exponential backoff with full jitter:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    # 2 ** 9 s is above the cap; the exponent must not grow during a long outage.
    return random.uniform(0, min(CAP_S, BASE_S * 2 ** min(failures, 9)))  # noqa: S311 (no secret)
