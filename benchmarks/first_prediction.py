"""Time the commands from an empty folder to a served prediction, with the environment installed.

The commands are `copier copy` from a git repository, `make model`, `make example`, `make release`,
`make serve` until it is ready, and one prediction over HTTP. Wall seconds, because a user waits for
them.
"""

import subprocess
import time
from pathlib import Path
from statistics import median

from rich.progress import track

import measure

RUNS = 3
GOAL_S = 60
PARTS = (
    "copier copy",
    "make model",
    "make example",
    "make release",
    "make serve, until ready",
    "one prediction",
)


def run_once(repository: Path, folder: Path, place: Path) -> dict[str, float]:
    """Run all commands once; return the seconds of each part."""
    env, marks = measure.variables(folder, place), [time.perf_counter()]
    measure.copy_command(repository, folder)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    marks.append(time.perf_counter())
    for target in ("model", "example", "release"):
        measure.run(["make", target], folder, env)
        marks.append(time.perf_counter())
    with measure.server(["make", "serve"], folder, env) as running:
        marks.append(time.perf_counter())
        measure.predict(running.port, folder / "data" / "example.png")
        marks.append(time.perf_counter())
    return {part: marks[i + 1] - marks[i] for i, part in enumerate(PARTS)}


with measure.workspace() as work:
    repository = measure.template(work / "template", as_git=True)
    with measure.console.status("Setting up the environment"):
        place = measure.training(measure.render(repository, work / "render"))
    runs = track(range(RUNS), "Running", console=measure.console)
    all_parts = [run_once(repository, work / f"run-{i}", place) for i in runs]

totals = [sum(parts.values()) for parts in all_parts]
parts = {part: median(seconds[part] for seconds in all_parts) for part in PARTS}
table = [["part", "wall s", "goal", "share"]]
for part, seconds in parts.items():
    table.append([part, f"{seconds:.2f}", "", f"{seconds / sum(parts.values()):.0%}"])
table.append(["total", f"{median(totals):.2f}", f"<= {GOAL_S}", "100%"])
figures = {"goal_s": GOAL_S, "wall_s": median(totals), "all_wall_s": totals, "parts_s": parts}
title = f"From an empty folder to a served prediction, median of {RUNS}"
measure.report(title, table, figures, RUNS, place)
