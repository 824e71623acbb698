"""Faults of a device: log lines, and the counter that its reports carry to the collector."""

import sys
from time import monotonic

from prometheus_client import Counter

FAULTS = Counter(
    "faults", "Damaged files set aside, threads started again, inputs that stay", ["kind"]
)
# The second line about a failure comes after a minute, each later one after twice the time.
FIRST_PAUSE_S = 60
LONGEST_PAUSE_S = 3600


def log(text: str) -> None:
    """Print one line to the log, in one piece: other threads print, too."""
    sys.stderr.write(" ".join(text.split()) + "\n")
    sys.stderr.flush()


def report_fault(kind: str, text: str) -> None:
    """Count a fault, and print it."""
    FAULTS.labels(kind).inc()
    log(text)


def fault_count() -> int:
    """Return the number of faults since the process started."""
    samples = [sample for family in FAULTS.collect() for sample in family.samples]
    return int(sum(sample.value for sample in samples if sample.name.endswith("_total")))


class FailureLog:
    """Prints the first failure of a task, then a line from time to time, and the recovery.

    A task that fails and works in turns is printed as rarely as one that keeps failing.
    """

    def __init__(self, task: str) -> None:
        self._task = task
        self._failures = 0  # since it worked
        self._is_printed = False  # one of these failures
        self._pause_s = 0.0
        self._next_s = 0.0

    def fail(self, error: BaseException | str) -> None:
        """Count one failure, and print it if a line is due."""
        self._failures += 1
        now_s = monotonic()
        if now_s < self._next_s:
            return
        is_new = now_s > self._next_s + self._pause_s
        self._pause_s = FIRST_PAUSE_S if is_new else min(LONGEST_PAUSE_S, 2 * self._pause_s)
        self._next_s = now_s + self._pause_s
        self._is_printed = True
        is_named = isinstance(error, str | SystemExit)
        reason = str(error) if is_named else f"{type(error).__name__}: {error}"
        count = f" ({self._failures} times in a row)" if self._failures > 1 else ""
        log(f"{self._task} failed{count}: {reason[:500]}")

    def recover(self) -> None:
        """Print that the task works again, if a failure was printed."""
        if self._is_printed:
            log(f"{self._task} works again, after {self._failures} failures.")
        self._failures = 0
        self._is_printed = False
