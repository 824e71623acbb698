"""One queue, one worker: what waits is answered together, and nobody waits in vain."""

import asyncio
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from .predictor import Prediction, Predictor

MAX_BATCH = 8
PAYS = 0.9  # a batch has to save a tenth of the time of each example
QUICK_S = 0.002  # what is quicker than this runs between two turns of the event loop
TIMED_S = 0.1
MAX_WAITING_BYTES = 64_000_000
LEARNING_RATE = 0.1


class Overloaded(Exception):
    """Whoever asks now would wait longer than was promised; `retry_after_s` says until when."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("more requests are waiting than can be answered in time")
        self.retry_after_s = retry_after_s


@dataclass(eq=False)
class Warm:
    """A model that has run, how long one answer takes it, and what batches pay."""

    predictor: Predictor
    seconds_each: float
    max_batch: int

    @classmethod
    def up(cls, predictor: Predictor) -> "Warm":
        """Run the network on zeros, alone and in full batches, for a tenth of a second or once."""
        times_s: dict[int, list[float]] = {1: [], MAX_BATCH: []}
        until = time.perf_counter() + TIMED_S
        while not times_s[MAX_BATCH] or time.perf_counter() < until:
            for size, found in times_s.items():
                x = np.zeros((size, *predictor.input_shape), np.float32)
                start = time.perf_counter()
                predictor.probabilities(x)
                found.append((time.perf_counter() - start) / size)
        alone_s, together_s = (median(found) for found in times_s.values())
        return cls(predictor, alone_s, MAX_BATCH if together_s < PAYS * alone_s else 1)


@dataclass(eq=False, slots=True)
class Job:
    """A payload that waits for its turn, until its deadline on the clock of the event loop."""

    payload: bytes
    model: Warm
    deadline: float
    answer: asyncio.Future[Prediction] = field(default_factory=asyncio.Future)


class Engine:
    """Micro-batches that nobody waits for: an idle engine answers at once, a busy one in batches.

    How long an answer takes is measured, not configured: when a model comes, and from then on.
    """

    def __init__(self) -> None:
        self._queue: deque[Job] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1)
        self._worker = asyncio.create_task(self._work())

    @property
    def alive(self) -> bool:
        """Whether the worker is there; it ends only by a fault in this file."""
        return not self._worker.done()

    @property
    def waiting(self) -> int:
        """How many payloads wait for their turn."""
        return len(self._queue)

    async def predict(self, payload: bytes, model: Warm, within_s: float) -> Prediction:
        """Answer one payload.

        Raises:
            Overloaded: not in time, as it seems now or turns out.
            Refusal: the payload cannot be decoded, or it breaks the contract.
            NotFinite: the model answers with what is no number.
        """
        wait_s = (self.waiting + 1) * model.seconds_each
        full = self._waiting_bytes + len(payload) > MAX_WAITING_BYTES
        if self._queue and (full or wait_s > within_s):
            raise Overloaded(wait_s)
        job = Job(payload, model, asyncio.get_running_loop().time() + within_s)
        self._queue.append(job)
        self._waiting_bytes += len(payload)
        self._wake.set()
        return await job.answer

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                if jobs := self._next(loop.time()):
                    model, payloads = jobs[0].model, [job.payload for job in jobs]
                    start = time.perf_counter()
                    if model.seconds_each * len(jobs) < QUICK_S:
                        results = model.predictor.predict_all(payloads)
                    else:
                        run = model.predictor.predict_all
                        results = await loop.run_in_executor(self._thread, run, payloads)
                    each_s = (time.perf_counter() - start) / len(jobs)
                    model.seconds_each += LEARNING_RATE * (each_s - model.seconds_each)
                    for job, result in zip(jobs, results, strict=True):
                        _settle(job, result)
                await asyncio.sleep(0)  # a turn of the loop: requests are read, health is told

    def _next(self, now: float) -> list[Job]:
        """Take the oldest jobs that go to one model, and that somebody still waits for."""
        jobs: list[Job] = []
        while self._queue and len(jobs) < self._queue[0].model.max_batch:
            if jobs and self._queue[0].model is not jobs[0].model:
                break
            job = self._queue.popleft()
            self._waiting_bytes -= len(job.payload)
            if now > job.deadline:
                _settle(job, Overloaded(job.model.seconds_each))
            elif not job.answer.done():  # it is done when the client went away
                jobs.append(job)
        return jobs

    def close(self) -> None:
        """Stop; what waits is left without an answer."""
        self._worker.cancel()
        self._thread.shutdown()


def _settle(job: Job, result: Prediction | Exception) -> None:
    if job.answer.done():
        return
    if isinstance(result, Exception):
        job.answer.set_exception(result)
    else:
        job.answer.set_result(result)
