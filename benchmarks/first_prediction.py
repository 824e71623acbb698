"""How long from nothing to a served prediction, once everything is installed?

The steps of the README with the commands of the README, except that the environment is there:
`copier copy` from a git repository, `make model`, `make example`, `make serve` until it is ready,
one prediction over HTTP. Wall seconds: this is what somebody waits for.
"""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from rich.progress import track

from measure import (
    console,
    environment,
    git,
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

RUNS = 3
GOAL_S = 60


def walk(repository: Path, folder: Path, place: Path) -> dict[str, float]:
    """Go the whole way once; return the seconds of each part."""
    env, marks = variables(folder, place), [time.perf_counter()]
    options = ["copy", "--defaults", "--quiet", "--vcs-ref", "HEAD"]
    subprocess.run([sys.executable, "-m", "copier", *options, repository, folder], check=True)
    git(folder, "init", "--quiet")
    marks.append(time.perf_counter())
    for target in ("model", "example"):
        run(["make", target], folder, env)
        marks.append(time.perf_counter())
    with server(["make", "serve"], folder, env) as running:
        marks.append(time.perf_counter())
        predict(running.port, folder / "data" / "example.png")
        marks.append(time.perf_counter())
    names = ["copier copy", "make model", "make example", "make serve, until ready", "prediction"]
    return {name: marks[i + 1] - marks[i] for i, name in enumerate(names)}


with workplace() as work:
    repository = template(work / "template")
    git(repository, "init", "--quiet")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "Release")
    with console.status("Setting up the environment"):
        first = render(repository, work / "render")
        place = environment(requirements(first, "serve", "train", "dev"))
    walks = [
        walk(repository, work / f"run-{i}", place)
        for i in track(range(RUNS), "Walking", console=console)
    ]

totals = [sum(parts.values()) for parts in walks]
parts = {name: median(parts[name] for parts in walks) for name in walks[0]}
rows = [
    [name, f"{seconds:.2f}", "", f"{seconds / sum(parts.values()):.0%}"]
    for name, seconds in parts.items()
]
rows.append(["all", f"{median(totals):.2f}", f"<= {GOAL_S}", "100%"])
figures = {"goal_s": GOAL_S, "wall_s": median(totals), "all_wall_s": totals, "parts_s": parts}
title = f"From nothing to a served prediction, median of {RUNS}"
report(title, ["part", "wall s", "goal", "share"], rows, figures, RUNS, place)
