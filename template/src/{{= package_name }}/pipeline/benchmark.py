"""Time whole predictions through the server, the device loop, or both."""

import time
from collections.abc import Callable
from importlib import import_module
from itertools import cycle, islice

import numpy as np
from rich.progress import track

from ..artifacts import RAW, write_report
from ..examples import read_shards, split_of
from ..scope import load_scope

PLACES = {"cloud": ["server"], "edge": ["device"], "hybrid": ["server", "device"]}
# Imported when needed: a render for one target does not have the other module.
ANSWERED_BY = {"server": "serving.client", "device": "device.loop"}
# The first requests open connections and fill caches. Of 400 repeats, 20 are slower than the p95;
# of 100 it would be five, and a few stalls of the machine would decide a gate.
WARM_UP = 30
REPEATS = 400
# Enough that a few slow payloads do not decide a gate, and few enough to keep in memory: an image
# may have 8 MB.
PAYLOADS = 100


def benchmark() -> None:
    """Measure latency and throughput, one request at a time, on one thread."""
    payloads = read_test_payloads()
    report = {}
    for place in PLACES[load_scope().target]:
        module = import_module(f"..{ANSWERED_BY[place]}", __package__)
        with module.start_predictor() as answer:
            report[place] = _time(answer, payloads, place)
    write_report("benchmark", report)


def read_test_payloads() -> list[bytes]:
    """Return up to `PAYLOADS` payloads of the test split, as clients would send them."""
    payloads = (e.payload for e in read_shards(RAW) if split_of(e.id) == "test")
    return list(islice(payloads, PAYLOADS))


def _is_answered(answer: Callable[[bytes], object], payload: bytes) -> bool:
    try:
        result = answer(payload)
    except SystemExit:  # the server's status was not 200
        return False
    # A device never raises: it falls back to the label of `fail_safe` and says why.
    return not (isinstance(result, dict) and result.get("fail_safe") in ("failed", "refused"))


def _time(answer: Callable[[bytes], object], payloads: list[bytes], place: str) -> dict[str, float]:
    """Time every request, failed ones included: a gate refuses those."""
    timings_ms = []
    failures = 0
    requests = islice(cycle(payloads), WARM_UP + REPEATS)
    for payload in track(requests, f"Timing {place}", total=WARM_UP + REPEATS):
        start = time.perf_counter()
        failures += not _is_answered(answer, payload)
        timings_ms.append(1000 * (time.perf_counter() - start))
    p50, p95, p99 = np.percentile(timings_ms[WARM_UP:], [50, 95, 99])
    throughput = 1000 / float(np.mean(timings_ms[WARM_UP:]))
    return {
        "latency_p50_ms": float(p50),
        "latency_p95_ms": float(p95),
        "latency_p99_ms": float(p99),
        "throughput_per_s": throughput,
        "requests": WARM_UP + REPEATS,
        "failures": failures,
    }
