"""Work that goes on in the background, and pauses longer and longer while it fails."""

import random
from collections.abc import Callable
from threading import Event

POLL_S = 1  # between looks at an empty queue: a decision is sent within about a second
# The first pauses are short, because most failures are a lost packet or a restart. After 60 s the
# pause grows no more: a network that comes back is used within a minute.
BASE_S = 1
CAP_S = 60


def keep_working(
    stop: Event, work: Callable[[], bool], count_failure: Callable[[Exception], None]
) -> None:
    """Call `work` until stopped: at once if it returned True, after a pause otherwise."""
    failures = 0
    pause_s = 0.0
    while not stop.wait(pause_s):
        try:
            pause_s = 0 if work() else POLL_S
            failures = 0
        except Exception as error:  # whatever a network or a server does, the thread goes on
            count_failure(error)
            pause_s = backoff_s(failures)
            failures += 1


def backoff_s(failures: int) -> float:
    """Draw a pause: exponential with full jitter, so that a fleet does not come back all at once.

    Brooker 2015, https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    # 2 ** 9 s is above the cap; a longer outage must not compute an ever larger power.
    return random.uniform(0, min(CAP_S, BASE_S * 2 ** min(failures, 9)))  # noqa: S311 (no secret)
