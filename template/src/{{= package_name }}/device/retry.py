"""Background work with exponential backoff, on threads that do not end."""

import random
from collections.abc import Callable
from threading import Event, Thread

from .report import FAULTS, FailureLog

POLL_S = 1  # interval between polls of an empty queue, so a decision is sent within about 1 s
# The first pauses are short, because most failures are lost packets or restarts. The cap of 60 s
# bounds the delay after the network has recovered.
BASE_S = 1
CAP_S = 60
THREADS: list["LastingThread"] = []  # those that were started; the watchdog looks at them


class LastingThread(Thread):
    """A thread that starts its work again if it ends before `stop` is set."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)  # a hanging connection keeps no process alive
        self.stop = Event()

    def start(self) -> None:
        super().start()
        THREADS.append(self)

    def run(self) -> None:
        failures = 0
        ends = FailureLog(f"The thread {self.name}")
        while not self.stop.is_set():
            try:
                self.work()
                reason = "it returned"
            except BaseException as error:  # also SystemExit, which would end it without a line
                reason = repr(error)
            if not self.stop.is_set():
                FAULTS.labels("thread").inc()
                ends.fail(f"it ended and starts again: {reason}")
                self.stop.wait(backoff_s(failures))
                failures += 1

    def work(self) -> None:
        """Work until `stop` is set."""


def ended_threads() -> list[str]:
    """Return the names of threads that should be alive and are not."""
    return [thread.name for thread in THREADS if not (thread.is_alive() or thread.stop.is_set())]


def keep_working(
    stop: Event,
    work: Callable[[], bool],
    count_failure: Callable[[Exception | SystemExit], None],
    task: str = "Background work",
) -> None:
    """Call `work` until stopped: again at once if it returned True, else after a pause.

    The first failure is logged, later ones from time to time.
    """
    failures = 0
    pause_s = 0.0
    failure_log = FailureLog(task)
    while not stop.wait(pause_s):
        try:
            pause_s = 0 if work() else POLL_S
            failures = 0
            failure_log.recover()
        except (Exception, SystemExit) as error:  # no peer and no setting may end the thread
            count_failure(error)
            failure_log.fail(error)
            pause_s = backoff_s(failures)
            failures += 1


def backoff_s(failures: int) -> float:
    """Return a random pause, so that the devices of a fleet do not all retry at the same time.

    Exponential backoff with full jitter:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    # 2 ** 9 s is above the cap; the exponent must not grow during a long outage.
    return random.uniform(0, min(CAP_S, BASE_S * 2 ** min(failures, 9)))  # noqa: S311 (no secret)
