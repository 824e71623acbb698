"""How much memory does the server take, how soon is it ready, and how large is what is installed?

For each modality: the road up to `evaluate`, then the server in an environment with what its
Dockerfile installs, so without PyTorch. Five starts after one warm-up give the seconds to ready;
the last server then answers 2,000 requests of 8 clients at once. RSS counts shared pages in full,
PSS only its share of them; both are read from /proc, so this needs Linux. The size on disk is
that of an environment without the interpreter, with the bytecode that running has left in it.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

from rich.progress import track

from measure import (
    INSIDE,
    MODALITIES,
    PACKAGE,
    console,
    environment,
    predict,
    render,
    report,
    requirements,
    run,
    server,
    template,
    variables,
    workplace,
)

STARTS, REQUESTS, CLIENTS = 5, 2000, 8
GOAL_MB = 150
STAGES = ["ingest", "validate", "featurize", "train", "export", "quantize", "evaluate", "example"]


def memory_mb(pid: int) -> dict[str, float]:
    """Read what the process holds now."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kb = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
    return {name.lower(): kb[name] * 1024 / 1e6 for name in ("Rss", "Pss")}


def on_disk_mb(folder: Path) -> float:
    """Add up the files of an environment."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e6


def served(folder: Path, place: Path) -> dict[str, float]:
    """Start the server of a trained render a few times; ask the last one a lot."""
    start = partial(server, [place / "bin" / "python", "-m", PACKAGE, "serve"], folder)
    (payload,) = (folder / "data").glob("example.*")
    ready_s = []
    for _ in range(STARTS):
        with start(variables(folder, place)) as running:
            ready_s.append(running.ready_s)
    with start(variables(folder, place)) as running:
        ready_s.append(running.ready_s)
        before = memory_mb(running.pid)
        with ThreadPoolExecutor(CLIENTS) as clients:
            ask = partial(predict, running.port, payload)
            list(clients.map(ask, [REQUESTS // CLIENTS] * CLIENTS))
        after = memory_mb(running.pid)
    memory = {f"start_{k}_mb": v for k, v in before.items()}
    memory |= {f"loaded_{k}_mb": v for k, v in after.items()}
    return memory | {"ready_s": median(ready_s[1:])}


figures, rows = {"goal_mb": GOAL_MB}, []
with workplace() as work:
    source = template(work / "template")
    for modality in track(MODALITIES, "Training and serving", console=console):
        folder = render(source, work / modality, modality=modality)
        training = environment(requirements(folder, "serve", "train", "dev"))
        road = [training / "bin" / "python", INSIDE / "road.py", PACKAGE, *STAGES]
        run(road, folder, variables(folder, training))
        place, device = (
            environment(requirements(folder, "serve")),
            environment(requirements(folder)),
        )
        found = served(folder, place)
        run([device / "bin" / "python", "-m", PACKAGE, "--help"], folder, variables(folder, device))
        sizes = {"server_disk_mb": on_disk_mb(place), "edge_disk_mb": on_disk_mb(device)}
        figures[modality] = found | sizes
        memory = [
            f"{found[f'{when}_{kind}_mb']:.0f}"
            for when in ("start", "loaded")
            for kind in ("rss", "pss")
        ]
        disk = [f"{size:.0f}" for size in sizes.values()]
        rows.append([modality, *memory, f"{found['ready_s']:.2f}", *disk])

columns = [
    "MB",
    "RSS ready",
    "PSS ready",
    "RSS after",
    "PSS after",
    "s to ready",
    "disk server",
    "disk edge",
]
title = f"The server, before and after {REQUESTS} requests; goal: RSS < {GOAL_MB} MB"
report(title, columns, rows, figures, STARTS, place)
