"""Dynamic batching for the prediction server.

Requests wait in a queue; a worker thread runs up to `max_batch` of them at once. A request that
would miss its deadline is rejected immediately with 503 and `Retry-After`, so that accepted
requests still meet the latency target. Small models skip the queue: below 2 ms per batch, handing
over to another thread costs more than running the model.

Payloads are decoded on the event loop, or in threads if that takes longer than 2 ms. The worker
thread releases the interpreter lock while the model runs, and so uses a second core.

Clients take turns, in the queue and at the decoders: many payloads, large ones or a long timeout of
one client delay the others by one turn. A client is an API key, or an address if there are no keys.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from threading import Condition, Thread

import numpy as np

from ..predictor import Prediction, Predictor, Prepared, prepare
from .background import report_end, report_start
from .turns import ClientLoad, Clients, RollingMedian, Turns

# Larger batches gain little on a CPU, and every request waits for its whole batch.
MAX_BATCH = 8
# Shorter work runs on the event loop, although it blocks other requests meanwhile.
QUICK_S = 0.002
# Payloads that threads decode at once. More than the two cores of a server in deploy/ would only
# need more memory, for large payloads up to 70 MB each.
DECODERS = 2
# With Python's default of 5 ms, the worker thread may wait longer for the interpreter lock than the
# model takes.
SWITCH_S = 0.0005
# All queued payloads. With MAX_BODIES_BYTES, the decoders and about 120 MB for the process itself,
# this fits into the 512 MiB that the files in deploy/ give a server.
MAX_WAITING_BYTES = 64_000_000
# Of one client. The others then find a place, in the queue and among the connections.
MAX_CLIENT_REQUESTS = 400
MAX_CLIENT_BYTES = 48_000_000
# Long enough to run a small model dozens of times, for a stable median; short enough not to delay
# the start of a server.
WARM_UP_S = 0.1


@dataclass(eq=False)
class LoadedModel:
    """A model after warm-up.

    `run_time` is the time per input. `max_batch` is 1 if batches are not faster than single inputs.
    """

    predictor: Predictor
    run_time: RollingMedian
    max_batch: int

    def predict_batch(self, inputs: list[Prepared]) -> list[Prediction | Exception]:
        """Run the model once and measure the time per input."""
        start = time.perf_counter()
        try:
            return self.predictor.predict_batch(inputs)
        except Exception as error:  # onnxruntime's errors have no common base class below this
            return [error] * len(inputs)
        finally:
            self.run_time.add((time.perf_counter() - start) / len(inputs))


def warm_up(predictor: Predictor) -> LoadedModel:
    """Run the model on zeros, singly and in full batches, for `WARM_UP_S` but at least once."""
    times_s: dict[int, list[float]] = {1: [], MAX_BATCH: []}
    until = time.perf_counter() + WARM_UP_S
    while not times_s[MAX_BATCH] or time.perf_counter() < until:
        for size, measured_s in times_s.items():
            x = np.zeros((size, *predictor.input_shape), np.float32)
            start = time.perf_counter()
            predictor.outputs(x)
            measured_s.append((time.perf_counter() - start) / size)
    alone_s, batched_s = (median(measured_s) for measured_s in times_s.values())
    max_batch = MAX_BATCH if batched_s < alone_s else 1
    return LoadedModel(predictor, RollingMedian(alone_s), max_batch)


class Overloaded(Exception):
    """The request would miss its deadline. Retry after `retry_after_s`."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("too many queued requests to meet the deadline")
        self.retry_after_s = retry_after_s


@dataclass(eq=False, slots=True)
class Job:
    """A queued input, and the future that its request awaits."""

    ready: Prepared
    model: LoadedModel
    deadline: float
    client: str
    result: asyncio.Future[Prediction] = field(default_factory=asyncio.Future)


class DynamicBatcher:
    """Runs single payloads when idle and batches under load.

    The time per payload is measured, not configured: at warm-up and with every batch.
    """

    def __init__(self) -> None:
        self._clients = Clients()
        self._queue: Turns[Job] = Turns()
        self._decoding: dict[str, int] = {}  # running decoders by client
        self._undecoded: Turns[asyncio.Future[None]] = Turns()
        self._in_hand: list[Job] = []  # of the worker thread
        self._changed = Condition()
        self._closed = False
        self._decoders = ThreadPoolExecutor(DECODERS)
        self._thread = Thread(target=self._work_and_report, daemon=True, name="batching")

    def start(self) -> None:
        """Start the worker thread. Call this from the event loop that will call `predict`."""
        self._loop = asyncio.get_running_loop()
        sys.setswitchinterval(SWITCH_S)
        self._thread.start()

    def close(self) -> None:
        """Stop the worker thread; queued requests get no response."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._decoders.shutdown(wait=False, cancel_futures=True)

    @property
    def is_alive(self) -> bool:
        """Whether the worker thread runs. Only a bug in this module could stop it early."""
        return self._thread.is_alive()

    @property
    def queue_length(self) -> int:
        return len(self._queue)

    async def predict(
        self, payload: bytes, model: LoadedModel, within_s: float, client: str = ""
    ) -> Prediction:
        """Predict the label of one payload within `within_s` seconds.

        Raises:
            Overloaded: the request would miss its deadline, or missed it in the queue.
            Refusal: the payload cannot be decoded, or it violates the contract.
            NotFinite: the output of the model is not finite.
        """
        deadline = time.perf_counter() + within_s
        clients = self._clients
        load = clients.find(client)
        wait_s = clients.wait_s(load, model.run_time.seconds)
        is_full = clients.bytes + len(payload) > MAX_WAITING_BYTES
        has_share = (
            load.requests < MAX_CLIENT_REQUESTS and load.bytes + len(payload) <= MAX_CLIENT_BYTES
        )
        if clients.requests and (is_full or wait_s > within_s or (load.requests and not has_share)):
            raise Overloaded(wait_s)
        clients.enter(load, len(payload))
        try:
            skips_queue = await self._skips_queue(model)
            ready = await self._prepare(payload, load)
            if not skips_queue:
                return await self._enqueue(Job(ready, model, deadline, client))
            (result,) = model.predict_batch([ready])
            if isinstance(result, Exception):
                raise result
            return result
        finally:
            clients.leave(load, len(payload))

    async def _skips_queue(self, model: LoadedModel) -> bool:
        if model.run_time.seconds * MAX_BATCH < QUICK_S:
            return True
        await asyncio.sleep(0)  # count requests that arrived at the same moment
        return self._clients.requests == 1 and model.run_time.seconds < QUICK_S

    async def _prepare(self, payload: bytes, load: ClientLoad) -> Prepared:
        def measure(clock: Callable[[], float]) -> tuple[Prepared, float]:
            start = clock()
            return prepare(payload), clock() - start

        if load.slowest_s < QUICK_S:
            ready, took_s = measure(time.perf_counter)
        else:
            # CPU time: when many threads decode at once, most of the elapsed time is spent waiting
            # for a core.
            clock = time.thread_time
            async with self._turn(load.client):
                ready, took_s = await self._loop.run_in_executor(self._decoders, measure, clock)
        load.add(took_s)
        return ready

    @asynccontextmanager
    async def _turn(self, client: str) -> AsyncIterator[None]:
        """Wait for a decoder. While there are several clients, none has more than half of them."""
        if not self._may_decode(client) or self._undecoded.has(client):
            turn = self._loop.create_future()
            self._undecoded.append(client, turn)
            await turn
        else:
            self._decoding[client] = self._decoding.get(client, 0) + 1
        try:
            yield
        finally:
            self._decoding[client] -= 1
            if not self._decoding[client]:
                del self._decoding[client]
            self._give_turns()

    def _may_decode(self, client: str) -> bool:
        limit = DECODERS // 2 if self._clients.are_several else DECODERS
        running = sum(self._decoding.values())
        return running < DECODERS and self._decoding.get(client, 0) < limit

    def _give_turns(self) -> None:
        while (client := self._undecoded.next_client(self._may_decode)) is not None:
            turn = self._undecoded.pop(client)
            if not turn.done():  # the client has not disconnected
                self._decoding[client] = self._decoding.get(client, 0) + 1
                turn.set_result(None)

    def _enqueue(self, job: Job) -> asyncio.Future[Prediction]:
        with self._changed:
            if self._closed:
                raise RuntimeError("the worker thread has stopped")
            self._queue.append(job.client, job)
            self._changed.notify()
        return job.result

    def _work_and_report(self) -> None:
        report_start("batching")
        try:
            self._work()
        except Exception as error:  # a bug, or no memory: `/healthz` fails from now on
            report_end("batching")
            self._closed = True
            jobs = [*self._in_hand, *self._queue]
            self._loop.call_soon_threadsafe(_resolve, jobs, [error] * len(jobs))

    def _work(self) -> None:
        while jobs := self._next_batch():
            now = time.perf_counter()
            late = [job for job in jobs if job.deadline < now]
            due = [job for job in jobs if job.deadline >= now and not job.result.done()]
            if late:
                error = Overloaded(late[0].model.run_time.seconds)
                self._loop.call_soon_threadsafe(_resolve, late, [error] * len(late))
            if due:
                results = due[0].model.predict_batch([job.ready for job in due])
                self._loop.call_soon_threadsafe(_resolve, due, results)

    def _next_batch(self) -> list[Job]:
        """Wait for jobs, then take the oldest ones for one model. Empty after `close`."""
        jobs: list[Job] = []
        self._in_hand = jobs
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            while (
                not self._closed and self._queue and len(jobs) < self._queue.first.model.max_batch
            ):
                if jobs and self._queue.first.model is not jobs[0].model:
                    break
                jobs.append(self._queue.popleft())
        return jobs


def _resolve(jobs: list[Job], results: Sequence[Prediction | Exception]) -> None:
    for job, result in zip(jobs, results, strict=True):
        if job.result.done():  # the client has disconnected
            continue
        if isinstance(result, Exception):
            job.result.set_exception(result)
        else:
            job.result.set_result(result)
