"""The load test: does a server keep its promises under the promised traffic?

First an open loop: requests are sent on schedule, whether or not earlier ones were answered, and
each is timed from when it was due. Clients that wait for answers slow down with the server and
never see its queue: Gil Tene's "coordinated omission", https://github.com/giltene/wrk2. Then a
closed loop measures the throughput.
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

# 20 s at 5 requests per s leave 5 above the p95, the fewest that say anything about it.
OPEN_S = 20
OPEN_CLIENTS = 64  # enough that a client is free when a request is due, unless the server is late
MAX_REQUESTS = 20_000
CLOSED_S = 5
CLOSED_CLIENTS = 16  # two full batches: more only wait longer
# Light traffic is raised to this for a p95, unless that would keep the server busy.
MIN_PER_S = 5
MAX_IDLE_LOAD = 0.1  # of what one server can take
START_S = 0.5  # until all threads of the clients run


def load() -> None:
    """Load the server at `<PACKAGE>_LOAD_URL`, or one that is started for it, and check it.

    The measurements are in `reports/load.json`.

    Raises:
        SystemExit: a promise is broken, a report is missing, or no server is ready.
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
    """Compare the measurements with the promises about traffic."""
    measured = read_report("load")
    peak_per_s = load_scope().peak_requests_per_s
    p95_ms = measured["latency_p95_ms"]
    per_s = measured["throughput_per_s"]
    speeds_per_s = _alone_per_s() | {"server": per_s}
    cost_usd = cost_usd_month(speeds_per_s, peak_per_s) if per_s else math.inf
    planned = Gate(
        id="load_throughput",
        name="answers per s, one server",
        observed=per_s,
        comparison=">=",
        limit=planned_per_s(),
        where=f"{SCOPE}: peak_requests_per_s",
    )
    return [
        gate("load_latency_p95", "latency p95 ms, under load", p95_ms, "max_latency_p95_ms"),
        gate("load_availability", "share answered", measured["availability"], "min_availability"),
        planned,
        gate("load_cost", "USD a month, at so many per s", cost_usd, "max_cost_usd_month"),
    ]


def planned_per_s() -> float:
    """Return the share of the peak that one server is planned for, in requests per second."""
    peak_per_s = load_scope().peak_requests_per_s
    return peak_per_s / replicas("server", _alone_per_s()["server"], peak_per_s)


def _alone_per_s() -> dict[str, float]:
    return {place: timing["throughput_per_s"] for place, timing in read_report("benchmark").items()}


def _measure(url: str, headers: dict[str, str]) -> dict[str, Any]:
    if not (model := fetch_readiness(url)):
        wanted = "Start one and give its address, like http://127.0.0.1:8000, or give none."
        raise SystemExit(f"No server is ready at {url}. {wanted}")
    per_s = max(planned_per_s(), min(MIN_PER_S, MAX_IDLE_LOAD * _alone_per_s()["server"]))
    requests = math.ceil(min(per_s * OPEN_S, MAX_REQUESTS))
    payloads = read_test_payloads()
    # A Poisson process with a given number of arrivals: their times are uniform.
    rng = np.random.default_rng(0)
    start_s = time.perf_counter() + START_S
    dues_s = np.sort(start_s + rng.uniform(0, requests / per_s, requests)).tolist()
    answers = drive(url, OPEN_CLIENTS, zip(dues_s, cycle(payloads)), dues_s[-1], headers)
    times_s = [answered_s - due_s for due_s, answered_s in answers]
    unanswered_s = [TIMEOUT_S] * (requests - len(answers))
    p95_ms = 1000 * float(np.percentile(times_s + unanswered_s, 95))
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
        "availability": len(answers) / requests,
        "throughput_per_s": sum(done_s <= last_s for _, done_s in in_closed_loop) / CLOSED_S,
    }
