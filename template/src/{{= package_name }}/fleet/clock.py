"""Clocks of the collector: a system clock that steps must not delete or backdate anything."""

import time

from prometheus_client import Counter

from ..device.report import log

TOLERANCE_S = 2  # the system clock may run this much apart, and is then followed
# A system clock that has stepped is followed after this time. A wrong time often lasts for seconds
# only, until the clock is synchronised.
SETTLE_S = 3600
# Old events are deleted as if time passed at most at this speed, so a step deletes nothing and
# the backlog of a real pause shrinks.
SPEED = 2
MAX_PAUSE_S = 86_400  # the part of the time between two starts that counts
STEPS = Counter("collector_clock_steps", "Steps of the system clock, each followed after 1 h")


class SteadyClock:
    """The time in seconds since 1970, by a clock that does not follow steps at once."""

    def __init__(self, newest_s: float = 0) -> None:
        # Events cannot come from the future: an earlier time is that of a clock that is not set.
        self._start_s = max(time.time(), newest_s)
        self._start_monotonic_s = time.monotonic()
        self._stepped_by_s = 0.0
        self._stepped_monotonic_s = 0.0
        self.corrected_by_s = 0.0  # by which times of this clock were wrong since its start

    def now_s(self) -> float:
        """Return the time."""
        monotonic_s = time.monotonic()
        steady_s = self._start_s + monotonic_s - self._start_monotonic_s
        apart_s = time.time() - steady_s
        if abs(apart_s) <= TOLERANCE_S:
            self._stepped_by_s = 0.0
        elif abs(apart_s - self._stepped_by_s) > TOLERANCE_S:  # a new step
            STEPS.inc()
            log(f"The system clock has stepped by {apart_s:.0f} s. It is followed after 1 h.")
            self._stepped_by_s = apart_s
            self._stepped_monotonic_s = monotonic_s
            return steady_s
        elif monotonic_s - self._stepped_monotonic_s < SETTLE_S:
            return steady_s
        else:
            self.corrected_by_s += apart_s
            self._stepped_by_s = 0.0
        self._start_s = steady_s + apart_s
        self._start_monotonic_s = monotonic_s
        return self._start_s


class RetentionClock:
    """The time by which old events are deleted. It runs at most `SPEED` times as fast as it should.

    `trusted_s` is its time when the process ended before; 0 for a new database.
    """

    def __init__(self, trusted_s: float, now_s: float) -> None:
        self._monotonic_s = time.monotonic()
        pause_s = min(max(0, now_s - trusted_s), MAX_PAUSE_S)
        self._trusted_s = min(now_s, trusted_s + pause_s) if trusted_s else now_s

    def advance(self, now_s: float, oldest_s: float) -> float:
        """Return the time, which is not before that of the oldest event."""
        monotonic_s = time.monotonic()
        elapsed_s = monotonic_s - self._monotonic_s
        self._monotonic_s = monotonic_s
        self._trusted_s = min(now_s, max(self._trusted_s, oldest_s) + SPEED * elapsed_s)
        return self._trusted_s
