"""Measure what `/predict` saves by bypassing FastAPI's request handling.

The render is for tables, where a request is mostly HTTP. Each round starts the server three times:
as it is, with the same route behind FastAPI's middleware, and with an ordinary FastAPI route; see
`inside/serving/routes.py`. 8 and 64 clients send requests in a closed loop. CPU time is read from
/proc, which needs Linux. Ratios are computed within each round.
"""

import http.client
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from rich.progress import track

import measure

ROUNDS, CLIENTS, SECONDS, LIMIT_MS = 7, (8, 64), 2, 1000
ROUTES = ("direct", "middleware", "ordinary")
STAGES = ["ingest", "validate", "featurize", "train", "export", "int8", "evaluate", "example"]
INSIDE = measure.INSIDE / "serving"
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


def cpu_ms(pid: int) -> float:
    """Return the CPU time of a process in ms."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return TICK_MS * (int(stat[11]) + int(stat[12]))


def label_of(port: int, payload: Path) -> str:
    """Return the label that the load generator must expect."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"content-type": measure.KINDS[payload.suffix]}
    connection.request("POST", "/predict", payload.read_bytes(), headers)
    label: str = json.loads(connection.getresponse().read())["label"]
    connection.close()
    return label


def one_server(folder: Path, place: Path, payload: Path, route: str) -> dict[int, float]:
    """Return the CPU ms per request of one server, by number of clients."""
    command = [place / "bin" / "python", INSIDE / "routes.py", route]
    cpu_per_request = {}
    with measure.server(command, folder, measure.variables(folder, place)) as running:
        kind = measure.KINDS[payload.suffix]
        words = [str(running.port), str(payload), kind, label_of(running.port, payload)]
        load = [sys.executable, str(INSIDE / "load.py"), *words]
        pipe = subprocess.PIPE
        with subprocess.Popen(load, stdin=pipe, stdout=pipe, text=True) as clients:
            assert clients.stdin and clients.stdout
            for count in (CLIENTS[0], *CLIENTS):  # the first time is the warm-up
                before = cpu_ms(running.pid)
                print(f"{count} {SECONDS}", file=clients.stdin, flush=True)
                result = json.loads(clients.stdout.readline())
                cpu_per_request[count] = (cpu_ms(running.pid) - before) / result["requests"]
    return cpu_per_request


rounds = []
with measure.workspace() as work:
    source = measure.template(work / "template")
    render = measure.render(source, work / "repo", modality="tabular", max_latency_p95_ms=LIMIT_MS)
    full = measure.training(render)
    stages = [full / "bin" / "python", measure.INSIDE / "run_stages.py", measure.PACKAGE, *STAGES]
    measure.run(stages, render, measure.variables(render, full))
    served = measure.environment(measure.requirements(render, "serve"))
    (example,) = (render / "data").glob("example.*")
    for _ in track(range(ROUNDS), "Serving", console=measure.console):
        rounds.append({route: one_server(render, served, example, route) for route in ROUTES})

table = [["route", "clients", "CPU ms", "/ direct"]]
figures = {}
for clients in CLIENTS:
    for route in ROUTES:
        ms = median(one[route][clients] for one in rounds)
        ratio = median(one[route][clients] / one["direct"][clients] for one in rounds)
        figures[f"{route} {clients}"] = {"cpu_ms": ms, "ratio": ratio}
        table.append([route, str(clients), f"{ms:.3f}", f"{ratio:.2f}"])
measure.report("CPU per request", table, figures, ROUNDS, served)
