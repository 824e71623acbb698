"""Compare the server with its peers and with running the model alone.

Two renders, for images and for tables, serve their shipped int8 models. The network for images is
widened until one run takes about a millisecond. Our server and each peer run on 127.0.0.1 with the
intake, features and session options of the render; see `inside/serving/`. Peers are pinned releases
from PyPI, each in its own environment with the requirements of our server.

Each round starts every server in turn, waits for its first correct answer (start-up), warms it up,
and sends requests from 1, 8 and 64 clients in a closed loop for some seconds. The clients run in a
separate process that checks every answer. CPU is that of all processes of the server, from /proc,
which needs Linux; memory is their PSS after the load. The model alone and the other parts of a
request are timed once per round without a server. Figures are medians over the rounds, ratios are
computed within each round. Payloads are raw bytes. Peers that batch use at most 8 per batch and the
shortest wait they allow.
"""

import ctypes
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.progress import track

import measure

ROUNDS, CLIENTS = 5, (1, 8, 64)
SECONDS, WARM_UP, LIMIT_MS = 3, ("8 1", "64 0.5"), 1000
WIDER = [
    (f"src/{measure.PACKAGE}/task/model.py", "WIDTH = 16", "WIDTH = 224"),
    ("params.yaml", "epochs: ", "epochs: 1 # "),
]
GOALS: dict[str, tuple[str, float, tuple[int, ...]]] = {  # comparison, limit, clients
    "image: CPU / raw run": ("<=", 1.3, (8, 64)),
    "image: CPU / run, decode, features, contract": ("", 0, ()),
    "image: requests per s / best peer": (">=", 1.5, (64,)),
    "image: p99 / best peer": ("<=", 1, CLIENTS),
    "tabular: requests per s / LitServe": (">=", 5, (64,)),
    "tabular: CPU of LitServe / ours": (">=", 5, (64,)),
}
PARTS = {
    "run_1": "session.run of 1",
    "run_8": "session.run of 8",
    "decode_features": "decode, features",
    "contract": "contract",
}
STAGES = ["ingest", "validate", "featurize", "train", "export", "int8", "evaluate", "example"]
INSIDE = measure.INSIDE / "serving"
OURS, LITSERVE = "ours", "LitServe"
PEERS: dict[str, tuple[list[str], list[str | Path]]] = {  # requirements, command
    "FastAPI, sync": ([], [INSIDE / "with_fastapi.py"]),
    LITSERVE: (["litserve==0.2.19"], [INSIDE / "with_litserve.py"]),
    # 1.4.40 requires a certifi that is not on PyPI.
    "BentoML": (["bentoml==1.4.39"], ["-m", "bentoml", "serve", "-q", "with_bentoml:Peer"]),
    "Ray Serve": (["ray[serve]==2.60.0"], [INSIDE / "with_ray.py"]),
}
QUIET = {
    "BENTOML_DO_NOT_TRACK": "True",
    "RAY_USAGE_STATS_ENABLED": "0",
    "ORT_DISABLE_TELEMETRY": "1",
    # Ray needs this to stay on 127.0.0.1, and its throughput settings without HAProxy.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PR_SET_CHILD_SUBREAPER = 36
Found = dict[str, float]


class Served(NamedTuple):
    """A trained render, the payload of all requests, and the command of each server."""

    folder: Path
    payload: Path
    place: Path
    commands: dict[str, list[str | Path]]


def prepare(source: Path, folder: Path, peers: list[str]) -> Served:
    """Train a render and install its servers."""
    # A latency limit that 64 parallel clients can meet.
    measure.render(source, folder, modality=folder.name, max_latency_p95_ms=LIMIT_MS)
    for name, old, new in WIDER if folder.name == "image" else ():
        path = folder / name
        assert old in path.read_text(), f"{name} has no {old!r}"
        path.write_text(path.read_text().replace(old, new))
    full = measure.training(folder)
    stages: list[str | Path] = [measure.INSIDE / "run_stages.py", measure.PACKAGE, *STAGES]
    measure.run([full / "bin" / "python", *stages], folder, measure.variables(folder, full))
    (payload,) = (folder / "data").glob("example.*")
    wanted = measure.requirements(folder, "serve")
    place = measure.environment(wanted)
    commands: dict[str, list[str | Path]] = {
        OURS: [place / "bin" / "python", "-m", measure.PACKAGE, "rehearse"]
    }
    for name in peers:
        more, words = PEERS[name]
        commands[name] = [measure.environment([*wanted, *more]) / "bin" / "python", *words]
    return Served(folder, payload, place, commands)


def variables(served: Served, work: Path) -> dict[str, str]:
    """Return the environment variables of a server, which keep its files in `work`."""
    found: dict[str, str] = measure.variables(served.folder, served.place)
    path = f"{found['PYTHONPATH']}{os.pathsep}{INSIDE}"
    homes = {"HOME": str(work), "BENTOML_HOME": str(work / "bentoml"), "RAY_TMPDIR": str(work)}
    return found | QUIET | homes | {"PYTHONPATH": path}


def processes(but: int = 0) -> dict[int, list[str]]:
    """Return the fields of /proc/<pid>/stat, from the state on, of all descendants."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            stats[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
    ours = {os.getpid()}
    while more := {p for p, stat in stats.items() if int(stat[1]) in ours} - ours - {but}:
        ours |= more
    return {pid: stats[pid] for pid in ours - {os.getpid()}}


def cpu_ms(but: int) -> float:
    """Return the CPU ms of the server so far, including ended children."""
    return 1000 * TICK_S * sum(int(t) for stat in processes(but).values() for t in stat[11:15])


def pss_mb(but: int) -> float:
    """Return the PSS of the server: each process counts 1/n of a page shared by n processes."""
    kb = 0
    for pid in processes(but):
        with suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            kb += sum(int(line.split()[1]) for line in text.splitlines() if line[:4] == "Pss:")
    return kb * 1024 / 1e6


@contextmanager
def kill_leftovers() -> Iterator[None]:
    """Kill leftover processes of servers at the end; as subreaper, this process inherits them."""
    try:
        yield
    finally:
        while left := processes():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for pid in left:
                with suppress(ChildProcessError):
                    os.waitpid(pid, 0)


@contextmanager
def load(port: int, payload: Path, label: str) -> Iterator[tuple[int, Callable[[str], Any]]]:
    """Start the load generator; yield its process id and a function that runs a round."""
    kind = measure.KINDS[payload.suffix]
    command = [sys.executable, str(INSIDE / "load.py"), str(port), str(payload), kind, label]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin and process.stdout
        commands, results = process.stdin, process.stdout

        def ask(words: str) -> Any:
            print(words, file=commands, flush=True)
            return json.loads(results.readline() or '"The load generator failed, see above."')

        yield process.pid, ask


def is_predicting(port: int, payload: Path) -> bool:
    """Whether the server answers a prediction."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    headers = {"content-type": measure.KINDS[payload.suffix]}
    try:
        connection.request("POST", "/predict", payload.read_bytes(), headers)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def one_server(served: Served, name: str, label: str, env: dict[str, str]) -> dict[str, Found]:
    """Start a server, load it and stop it; return the figures by number of clients."""
    found = {}
    ready = partial(is_predicting, payload=served.payload)
    started = measure.server(served.commands[name], served.folder, env, ready)
    with (
        started as running,
        kill_leftovers(),
        load(running.port, served.payload, label) as (generator, ask),
    ):
        for words in WARM_UP:
            ask(words)
        for clients in CLIENTS:
            before = cpu_ms(generator)
            result = ask(f"{clients} {SECONDS}")
            spent = cpu_ms(generator) - before
            if not isinstance(result, dict):
                raise SystemExit(f"{name}: {result}")
            found[str(clients)] = {"cpu_ms": spent / result["requests"]} | result
        found["server"] = {"pss_mb": pss_mb(generator), "ready_s": running.ready_s}
    return found


def one_round(served: Served, env: dict[str, str]) -> Any:
    """Time the work without a server, then every server in turn."""
    command = [served.place / "bin" / "python", INSIDE / "unit.py", served.payload]
    result = subprocess.run(command, cwd=served.folder, env=env, check=True, stdout=subprocess.PIPE)
    unit = json.loads(result.stdout)
    label = unit.pop("label")
    return {"unit": unit} | {n: one_server(served, n, label, env) for n in served.commands}


def ratios(image: Any, table: Any) -> dict[str, dict[str, float]]:
    """Compare our server with the bare work and with the peers in one round, as in GOALS."""
    work = sum(image["unit"].values()) - image["unit"]["run_1"]
    found: dict[str, dict[str, float]] = {name: {} for name in GOALS}
    for c in map(str, CLIENTS):
        ours, peers = image[OURS][c], [image[name][c] for name in PEERS]
        rows, theirs = table[OURS][c], table[LITSERVE][c]
        of_each = (
            ours["cpu_ms"] / image["unit"]["run_1"],
            ours["cpu_ms"] / work,
            ours["per_s"] / max(peer["per_s"] for peer in peers),
            ours["p99_ms"] / min(peer["p99_ms"] for peer in peers),
            rows["per_s"] / theirs["per_s"],
            theirs["cpu_ms"] / rows["cpu_ms"],
        )
        for name, value in zip(GOALS, of_each, strict=True):
            found[name][c] = value
    return found


def medians(rounds: list[Any]) -> Any:
    """Return the medians over the rounds, recursively."""
    if isinstance(rounds[0], dict):
        return {key: medians([one[key] for one in rounds]) for key in rounds[0]}
    return median(rounds)


def goals_table(found: dict[str, dict[str, float]]) -> list[list[str]]:
    """Return a table of the ratios and their goals."""
    table = [["ours", *(f"{clients} clients" for clients in CLIENTS), "goal"]]
    for name, (sense, limit, at) in GOALS.items():
        row = [name]
        for clients in CLIENTS:
            value = found[name][str(clients)]
            kept = value >= limit if sense == ">=" else value <= limit
            row.append(
                f"{value:.2f} {'met' if kept else 'missed'}" if clients in at else f"{value:.2f}"
            )
        table.append([*row, f"{sense} {limit}" if at else ""])
    return table


def table_rows(name: str, found: Any) -> Iterator[list[str]]:
    """Yield the rows of a model: the bare work, then each server by number of clients."""
    for part, ms in found["unit"].items():
        yield [f"{name}: {PARTS[part]}", "", f"{ms:.3f}", *[""] * 6]
    for server in found:
        for c in map(str, CLIENTS) if server != "unit" else ():
            one, (memory, ready) = found[server][c], found[server]["server"].values()
            times = [f"{one[f'p{p}_ms']:.1f}" for p in (50, 95, 99)]
            last = [f"{memory:.0f}", f"{ready:.1f}"] if c == str(CLIENTS[0]) else ["", ""]
            head = f"{name}: {server}"
            yield [head, c, f"{one['cpu_ms']:.2f}", f"{one['per_s']:.0f}", *times, *last]


ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
images, tables = list[Any](), list[Any]()
with measure.workspace() as work, kill_leftovers():
    source = measure.template(work / "template")
    image = prepare(source, work / "image", list(PEERS))
    rows = prepare(source, work / "tabular", [LITSERVE])
    for _ in track(range(ROUNDS), "Serving", console=measure.console):
        images.append(one_round(image, variables(image, work)))
        tables.append(one_round(rows, variables(rows, work)))

compared = medians([ratios(*pair) for pair in zip(images, tables, strict=True)])
found = {"image": medians(images), "tabular": medians(tables)}
measure.show(f"Ratios, median of {ROUNDS} rounds", goals_table(compared))
headings = ["", "clients", "CPU ms", "per s", "p50 ms", "p95 ms", "p99 ms", "PSS MB", "s to ready"]
table = [headings, *(row for name, of_it in found.items() for row in table_rows(name, of_it))]
peers = [requirement for more, _ in PEERS.values() for requirement in more]
figures = found | {"ratios": compared, "peers": peers}
measure.report("Serving, per request", table, figures, ROUNDS, image.place)
