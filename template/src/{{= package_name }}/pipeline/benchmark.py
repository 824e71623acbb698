"""Measure latency and throughput of whole predictions, wherever the model runs."""

import time
from collections.abc import Callable
from itertools import cycle, islice

import numpy as np
from rich.progress import track

from ..artifacts import RAW, write_report
from ..examples import read_shards
from .places import load_places

# The first requests open connections and fill caches. Of 400 requests, 20 are slower than the p95;
# of 100, only five would be, and a few stalls of the machine could fail the gate.
WARM_UP = 30
REPEATS = 400
# Enough that a few slow payloads cannot fail the gate, and few enough to keep in memory, at up to
# 8 MB each.
PAYLOADS = 100


def benchmark() -> None:
    """Send one request at a time to each place, and write `reports/benchmark.json`."""
    payloads = read_test_payloads()
    report = {}
    for name, place in load_places().items():
        with place.start() as succeeds:
            report[name] = _time(succeeds, payloads, name)
    write_report("benchmark", report)


def read_test_payloads() -> list[bytes]:
    """Return up to `PAYLOADS` payloads of the test split."""
    payloads = (e.payload for e in read_shards(RAW) if e.split == "test")
    return list(islice(payloads, PAYLOADS))


def _time(succeeds: Callable[[bytes], bool], payloads: list[bytes], place: str) -> dict[str, float]:
    """Time every request, and count failed ones: a gate rejects those."""
    timings_ms = []
    failures = 0
    requests = islice(cycle(payloads), WARM_UP + REPEATS)
    for payload in track(requests, f"Timing {place}", total=WARM_UP + REPEATS):
        start = time.perf_counter()
        failures += not succeeds(payload)
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
