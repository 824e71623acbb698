"""The load test: checks latency, availability, throughput and cost under the planned traffic.

First, an open loop sends requests on a schedule, whether or not earlier ones have finished, and
times each from when it was due. Clients that wait for a response slow down with the server and hide
its queue ("coordinated omission": https://github.com/giltene/wrk2). Then a closed loop measures the
throughput.
"""

import math
import time
from itertools import cycle
from typing import Any

import numpy as np

from ..artifacts import read_report, write_report
from ..cost import cost_usd_month, replicas
from ..gates import Gate, gate, refuse_broken
from ..pipeline.benchmark import read_test_payloads
from ..scope import SCOPE, load_scope
from .client import TIMEOUT_S, drive, fetch_readiness, request_headers, start_server
from .settings import LoadSettings

# 20 s at 5 requests per s are 100 requests: 5 of them are above the p95.
OPEN_S = 20
OPEN_CLIENTS = 64  # enough that one is free when a request is due, unless the server is slow
MAX_REQUESTS = 20_000
CLOSED_S = 5
CLOSED_CLIENTS = 16  # two full batches; more clients would only wait longer
# Light traffic is raised to this rate to measure a p95, but to at most MAX_IDLE_LOAD of the
# throughput of one server.
MIN_PER_S = 5
MAX_IDLE_LOAD = 0.1
START_S = 0.5  # until the threads of all clients run


def load() -> None:
    """Run the load test against `<PACKAGE>_LOAD_URL`, or against a server started for it.

    Writes the measurements to `reports/load.json`.

    Raises:
        SystemExit: a limit is not met, a report is missing, or no server is ready.
    """
    settings = LoadSettings.read()
    headers = request_headers(settings.load_key.get_secret_value())
    if settings.load_url:
        write_report("load", _measure(settings.load_url, headers))
    else:
        with start_server() as port:
            write_report("load", _measure(f"http://127.0.0.1:{port}", headers))
    gates = compare_load()
    print(*gates, sep="\n")
    refuse_broken(gates)


def compare_load() -> list[Gate]:
    """Compare the measurements with the limits of scope.yaml."""
    measured = read_report("load")
    peak_per_s = load_scope().peak_requests_per_s
    p95_ms = measured["latency_p95_ms"]
    per_s = measured["throughput_per_s"]
    speeds_per_s = _alone_per_s() | {"server": per_s}
    cost_usd = cost_usd_month(speeds_per_s, peak_per_s) if per_s else math.inf
    planned = Gate(
        id="load_throughput",
        name="requests per s, one server",
        observed=per_s,
        comparison=">=",
        limit=planned_per_s(),
        where=f"{SCOPE}: peak_requests_per_s",
    )
    return [
        gate("load_latency_p95", "latency p95 ms, under load", p95_ms, "max_latency_p95_ms"),
        gate("load_availability", "availability", measured["availability"], "min_availability"),
        planned,
        gate("load_cost", "USD per month, at that throughput", cost_usd, "max_cost_usd_month"),
    ]


def planned_per_s() -> float:
    """Return the planned peak traffic of one server, in requests per second."""
    peak_per_s = load_scope().peak_requests_per_s
    return peak_per_s / replicas("server", _alone_per_s()["server"], peak_per_s)


def _alone_per_s() -> dict[str, float]:
    return {place: timing["throughput_per_s"] for place, timing in read_report("benchmark").items()}


def _measure(url: str, headers: dict[str, str]) -> dict[str, Any]:
    if not (model := fetch_readiness(url)):
        hint = "Start one and set URL=http://HOST:PORT, or omit URL to start one for the test."
        raise SystemExit(f"No server is ready at {url}. {hint}")
    per_s = max(planned_per_s(), min(MIN_PER_S, MAX_IDLE_LOAD * _alone_per_s()["server"]))
    requests = math.ceil(min(per_s * OPEN_S, MAX_REQUESTS))
    payloads = read_test_payloads()
    # A Poisson process with a given number of arrivals: their times are uniform.
    rng = np.random.default_rng(0)
    start_s = time.perf_counter() + START_S
    dues_s = np.sort(start_s + rng.uniform(0, requests / per_s, requests)).tolist()
    responses = drive(url, OPEN_CLIENTS, zip(dues_s, cycle(payloads)), dues_s[-1], headers)
    times_s = [done_s - due_s for due_s, done_s in responses]
    failed_s = [TIMEOUT_S] * (requests - len(responses))
    p95_ms = 1000 * float(np.percentile(times_s + failed_s, 95))
    immediately = iter(time.perf_counter, None)  # every request is due immediately
    last_s = time.perf_counter() + CLOSED_S
    schedule = zip(immediately, cycle(payloads))
    in_closed_loop = drive(url, CLOSED_CLIENTS, schedule, last_s, headers)
    return {
        "url": url,
        "model": model,
        "requests_per_s": per_s,
        "requests": requests,
        "latency_p95_ms": p95_ms,
        "availability": len(responses) / requests,
        "throughput_per_s": sum(done_s <= last_s for _, done_s in in_closed_loop) / CLOSED_S,
    }
