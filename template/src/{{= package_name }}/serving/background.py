"""Background tasks and threads: each unexpected end is logged, counted and, for tasks, followed by
a new start.
"""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from prometheus_client import Counter, Gauge

FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0
FAILURES = Counter(
    "background_failures_total", "Unexpected ends of background tasks and threads", ["task"]
)
RUNNING = Gauge("background_task_up", "1 while a background task or thread runs", ["task"])
log = logging.getLogger(__package__)


async def keep_running(name: str, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a job until it returns; after an error, start it again, with growing pauses."""
    pause_s = FIRST_PAUSE_S
    while True:
        report_start(name)
        try:
            return await job()
        except Exception:
            report_end(name)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, MAX_PAUSE_S)


def report_start(name: str) -> None:
    RUNNING.labels(name).set(1)
    FAILURES.labels(name)  # at zero: Prometheus' rate() misses the first increment otherwise


def report_end(name: str) -> None:
    """Log and count the end of a task or thread; call this while its exception is handled."""
    RUNNING.labels(name).set(0)
    FAILURES.labels(name).inc()
    log.exception("background task failed", extra={"task": name})


def log_uncaught_errors() -> None:
    """Log errors that end the process or a thread, as JSON lines like all others."""

    def log_error(kind: type[BaseException], error: BaseException | None, trace: Any) -> None:
        if error is not None:
            log.critical("stopped by an error", exc_info=(kind, error, trace))

    def log_thread(of: threading.ExceptHookArgs) -> None:
        FAILURES.labels(of.thread.name if of.thread else "unknown").inc()
        log_error(of.exc_type, of.exc_value, of.exc_traceback)

    sys.excepthook = log_error
    threading.excepthook = log_thread
