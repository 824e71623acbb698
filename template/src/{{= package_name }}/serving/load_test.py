"""A server under the promised traffic, judged by what its clients see.

First an open loop: requests come whether or not those before were answered, and each is timed from
when it was due. Clients that wait for answers slow down with the server and never see its queue:
Gil Tene's "coordinated omission", https://github.com/giltene/wrk2. Then a closed loop, for how
much the server can take.
"""

import math
import time
from itertools import cycle
from typing import Any

import numpy as np

from ..artifacts import read_report, write_report
from ..cost import cost_usd_month, replicas
from ..gates import Gate, gate, refuse_broken
from ..pipeline.benchmark import held_out
from ..scope import SCOPE, load_scope
from ..settings import setting
from .client import TIMEOUT_S, drive, ready, running_server

OPEN_S, OPEN_CLIENTS, MOST_REQUESTS = 20, 64, 20_000
CLOSED_S, CLOSED_CLIENTS = 5, 16
LEAST_PER_S, LEAST_BUSY = 5, 0.1  # a p95 needs some traffic, if that keeps no server busy
START_S = 0.5  # until every client is there


def load() -> None:
    """Load the server at `<PACKAGE>_LOAD_URL`, or one that is started for it, and judge it.

    The evidence is in `reports/load.json`. `<PACKAGE>_LOAD_KEY` is sent as the API key.

    Raises:
        SystemExit: a promise is broken, evidence is missing, or no server is ready.
    """
    if url := setting("LOAD_URL"):
        write_report("load", _measured(url))
    else:
        with running_server() as port:
            write_report("load", _measured(f"http://127.0.0.1:{port}"))
    gates = verdicts()
    print(*gates, sep="\n")
    refuse_broken(gates)


def verdicts() -> list[Gate]:
    """Hold the promises about traffic against the evidence for them."""
    found, peak_per_s = read_report("load"), load_scope().peak_requests_per_s
    p95_ms, per_s = found["latency_p95_ms"], found["throughput_per_s"]
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
        gate("load_availability", "share answered", found["availability"], "min_availability"),
        planned,
        gate("load_cost", "USD a month, at so many per s", cost_usd, "max_cost_usd_month"),
    ]


def planned_per_s() -> float:
    """Return how much of the peak one server is planned for, in requests per second."""
    peak_per_s = load_scope().peak_requests_per_s
    return peak_per_s / replicas("server", _alone_per_s()["server"], peak_per_s)


def _alone_per_s() -> dict[str, float]:
    return {place: timing["throughput_per_s"] for place, timing in read_report("benchmark").items()}


def _measured(url: str) -> dict[str, Any]:
    if not (model := ready(url)):
        wanted = "Start one and give its address, like http://127.0.0.1:8000, or give none."
        raise SystemExit(f"No server is ready at {url}. {wanted}")
    per_s = max(planned_per_s(), min(LEAST_PER_S, LEAST_BUSY * _alone_per_s()["server"]))
    requests, payloads = math.ceil(min(per_s * OPEN_S, MOST_REQUESTS)), held_out()
    # A Poisson process, given how many come in that time: evenly at random.
    start_s, chance = time.perf_counter() + START_S, np.random.default_rng(0)
    dues_s = np.sort(start_s + chance.uniform(0, requests / per_s, requests)).tolist()
    answers = drive(url, OPEN_CLIENTS, zip(dues_s, cycle(payloads)), dues_s[-1])
    times_s = [came_s - due_s for due_s, came_s in answers]
    without = [TIMEOUT_S] * (requests - len(answers))
    p95_ms = 1000 * float(np.percentile(times_s + without, 95))
    last_s, now = time.perf_counter() + CLOSED_S, iter(time.perf_counter, None)
    at_once = drive(url, CLOSED_CLIENTS, zip(now, cycle(payloads)), last_s)
    return {
        "url": url,
        "model": model,
        "requests_per_s": per_s,
        "requests": requests,
        "latency_p95_ms": p95_ms,
        "availability": len(answers) / requests,
        "throughput_per_s": sum(came_s <= last_s for _, came_s in at_once) / CLOSED_S,
    }
