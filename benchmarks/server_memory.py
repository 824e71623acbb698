"""Measure memory, start-up time and installed size of the server.

For each modality: run the pipeline up to `evaluate`, then start the server in the environment that
its Dockerfile installs, without PyTorch. Start-up time is the median of five starts after one
warm-up. The last server then handles 2,000 requests from 8 clients. RSS counts shared pages in
full, PSS proportionally; both come from /proc, which needs Linux. The size on disk excludes the
interpreter and bytecode.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

from rich.progress import track

import measure

STARTS, REQUESTS, CLIENTS = 5, 2000, 8
GOAL_MB = 150
STAGES = ["ingest", "validate", "featurize", "train", "export", "int8", "evaluate", "example"]


def memory_mb(pid: int, when: str) -> dict[str, float]:
    """Read RSS and PSS of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kb = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
    return {f"{name.lower()}_{when}_mb": kb[name] * 1024 / 1e6 for name in ("Rss", "Pss")}


def on_disk_mb(folder: Path) -> float:
    """Return the size of an environment in MB."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_size for path in files if path.suffix != ".pyc") / 1e6


def measure_server(folder: Path, place: Path) -> dict[str, float]:
    """Start the server of a trained render several times; send requests to the last one."""
    (payload,) = (folder / "data").glob("example.*")
    command = [place / "bin" / "python", "-m", measure.PACKAGE, "rehearse"]
    ready_s = []
    for i in range(STARTS + 1):
        with measure.server(command, folder, measure.variables(folder, place)) as running:
            ready_s.append(running.ready_s)
            if i == STARTS:
                memory = memory_mb(running.pid, "ready")
                with ThreadPoolExecutor(CLIENTS) as clients:
                    ask = partial(measure.predict, running.port, payload)
                    list(clients.map(ask, [REQUESTS // CLIENTS] * CLIENTS))
                memory |= memory_mb(running.pid, "after")
    return memory | {"ready_s": median(ready_s[1:])}


figures = {"goal_mb": GOAL_MB}
table = [["MB", "RSS ready", "PSS ready", "RSS after", "PSS after", "s to ready", "disk: server"]]
table[0].append("device")
with measure.workspace() as work:
    source = measure.template(work / "template")
    for modality in track(measure.MODALITIES, "Training and serving", console=measure.console):
        folder = measure.render(source, work / modality, modality=modality)
        full = measure.training(folder)
        stages = [
            full / "bin" / "python",
            measure.INSIDE / "run_stages.py",
            measure.PACKAGE,
            *STAGES,
        ]
        measure.run(stages, folder, measure.variables(folder, full))
        place = measure.environment(measure.requirements(folder, "serve"))
        device = measure.environment(measure.requirements(folder))
        found = measure_server(folder, place)
        found |= {"server_disk_mb": on_disk_mb(place), "device_disk_mb": on_disk_mb(device)}
        figures[modality] = found
        texts = [f"{v:.2f}" if k == "ready_s" else f"{v:.0f}" for k, v in found.items()]
        table.append([modality, *texts])

title = f"Server before and after {REQUESTS} requests; goal: RSS < {GOAL_MB} MB"
measure.report(title, table, figures, STARTS, place)
