"""How long does Copier take to write the default answers?

Three ways, interleaved, after one warm-up of each: in process from a plain folder (what the tests
do), in process from a git repository that Copier clones (what `poc2prod new` does), and the
`copier` command as a process of its own (what a user without our command line does). CPU seconds
are those of this process and of every git process that Copier starts.
"""

import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median

from rich.progress import track

from measure import console, cost, git, render, report, template, workplace

RUNS = 10
GOAL_CPU_S = 1.0
PLAIN, CLONE, COMMAND = "in process, plain folder", "in process, git", "copier command, git"


def command(source: Path, folder: Path) -> None:
    """Copy as a user would."""
    options = ["copy", "--defaults", "--quiet", "--vcs-ref", "HEAD"]
    subprocess.run([sys.executable, "-m", "copier", *options, source, folder], check=True)


with workplace() as work:
    plain, repository = template(work / "plain"), template(work / "repository")
    git(repository, "init", "--quiet")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "Release")
    ways = {
        PLAIN: partial(render, plain),
        CLONE: partial(render, repository),
        COMMAND: partial(command, repository),
    }
    costs = {way: [] for way in ways}
    for i in track(range(RUNS + 1), "Copying", console=console):
        for j, (way, copy) in enumerate(ways.items()):
            costs[way].append(cost(partial(copy, work / f"copy-{i}-{j}")))
    files = sum(path.is_file() for path in (work / "copy-0-0").rglob("*"))

figures, rows = {"files": files, "goal_cpu_s": GOAL_CPU_S}, []
for way, (_, *counted) in costs.items():
    wall_s, cpu_s = (median(values) for values in zip(*counted, strict=True))
    figures[way] = {"cpu_s": cpu_s, "wall_s": wall_s}
    goal = f"< {GOAL_CPU_S:g}" if way == PLAIN else ""
    rows.append([way, f"{cpu_s:.2f}", goal, f"{wall_s:.2f}"])
title = f"copier copy, {files} files, median of {RUNS}"
report(title, ["way", "CPU s", "goal", "wall s"], rows, figures, RUNS)
