"""Many ask and one thread runs the network: what waits is answered together, nobody waits in vain.

Decoding and features take the event loop's turn, while the thread, which needs no interpreter for
the network, takes the other core. What is quick, or asked by nobody else, is answered on the spot.
"""

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread

from ..predictor import Prediction, Prepared, prepared
from .warm import MAX_BATCH, Pace, Warm

QUICK_S = 0.002  # for so long, the event loop may be held up
SWITCH_S = 0.0005  # for so long, the thread may wait for the interpreter after each batch
MAX_WAITING_BYTES = 64_000_000


class Overloaded(Exception):
    """Whoever asks now would wait longer than was promised; `retry_after_s` says until when."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("more requests are waiting than can be answered in time")
        self.retry_after_s = retry_after_s


@dataclass(eq=False, slots=True)
class Job:
    """An input that waits for its turn, until its deadline."""

    ready: Prepared
    model: Warm
    deadline: float
    answer: asyncio.Future[Prediction] = field(default_factory=asyncio.Future)


class Engine:
    """Micro-batches that nobody waits for: an idle engine answers at once, a busy one in batches.

    How long an answer takes is measured, not configured: when a model comes, and from then on.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._asking = self._asking_bytes = 0
        self._preparing = Pace(0)
        self._queue: deque[Job] = deque()
        self._changed = Condition()
        self._closed = False
        sys.setswitchinterval(SWITCH_S)
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread is there; it ends only by a fault in this file."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """How many inputs wait for their turn."""
        return len(self._queue)

    async def predict(self, payload: bytes, model: Warm, within_s: float) -> Prediction:
        """Answer one payload.

        Raises:
            Overloaded: not in time, as it seems now or turns out.
            Refusal: the payload cannot be decoded, or it breaks the contract.
            NotFinite: the model answers with what is no number.
        """
        deadline = time.perf_counter() + within_s
        wait_s = (self._asking + 1) * (model.pace.seconds + self._preparing.seconds)
        full = self._asking_bytes + len(payload) > MAX_WAITING_BYTES
        if self._asking and (full or wait_s > within_s):
            raise Overloaded(wait_s)
        self._asking += 1
        self._asking_bytes += len(payload)
        try:
            quick = await self._is_quick(model)
            ready = await self._prepare(payload)
            if not quick:
                return await self._enqueued(Job(ready, model, deadline))
            (result,) = model.answers([ready])
            if isinstance(result, Exception):
                raise result
            return result
        finally:
            self._asking -= 1
            self._asking_bytes -= len(payload)

    async def _is_quick(self, model: Warm) -> bool:
        if model.pace.seconds * MAX_BATCH < QUICK_S:
            return True
        await asyncio.sleep(0)  # so that those who ask at the same moment are counted
        return self._asking == 1 and model.pace.seconds < QUICK_S

    async def _prepare(self, payload: bytes) -> Prepared:
        def timed(clock: Callable[[], float]) -> tuple[Prepared, float]:
            start = clock()
            return prepared(payload), clock() - start

        if self._preparing.seconds < QUICK_S:
            ready, took_s = timed(time.perf_counter)
        else:  # CPU, dear to ask for: where many threads decode, most of the time is waiting
            ready, took_s = await asyncio.to_thread(timed, time.thread_time)
        self._preparing.learn(took_s)
        return ready

    def _enqueued(self, job: Job) -> asyncio.Future[Prediction]:
        with self._changed:
            self._queue.append(job)
            self._changed.notify()
        return job.answer

    def _work(self) -> None:
        while jobs := self._next():
            now = time.perf_counter()
            late = [job for job in jobs if job.deadline < now]
            due = [job for job in jobs if job.deadline >= now and not job.answer.done()]
            if late:
                why = Overloaded(late[0].model.pace.seconds)
                self._loop.call_soon_threadsafe(_settle, late, [why] * len(late))
            if due:
                results = due[0].model.answers([job.ready for job in due])
                self._loop.call_soon_threadsafe(_settle, due, results)

    def _next(self) -> list[Job]:
        """Wait for jobs, and take the oldest that go to one model; none when all is over."""
        jobs: list[Job] = []
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            while not self._closed and self._queue and len(jobs) < self._queue[0].model.max_batch:
                if jobs and self._queue[0].model is not jobs[0].model:
                    break
                jobs.append(self._queue.popleft())
        return jobs

    def close(self) -> None:
        """Stop; what waits is left without an answer."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()


def _settle(jobs: list[Job], results: Sequence[Prediction | Exception]) -> None:
    for job, result in zip(jobs, results, strict=True):
        if job.answer.done():  # whoever asked went away
            continue
        if isinstance(result, Exception):
            job.answer.set_exception(result)
        else:
            job.answer.set_result(result)
