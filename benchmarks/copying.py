"""Time `copier copy` of the default answers.

Three ways in turns, after one warm-up each: in this process from a plain folder (like the tests),
in this process from a git repository (like `poc2prod new`), and with the `copier` command. CPU
seconds include the git processes that Copier starts. The name `copy.py` would shadow Python's
`copy` module.
"""

from functools import partial
from statistics import median

from rich.progress import track

import measure

RUNS = 10
GOAL_CPU_S = 1.0
PLAIN = "in this process, plain folder"

with measure.workspace() as work:
    plain = measure.template(work / "plain")
    repository = measure.template(work / "repository", as_git=True)
    ways = {
        PLAIN: partial(measure.render, plain),
        "in this process, git": partial(measure.render, repository),
        "copier command, git": partial(measure.copy_command, repository),
    }
    costs = {way: [] for way in ways}
    for i in track(range(RUNS + 1), "Copying", console=measure.console):
        for way, copy in ways.items():
            costs[way].append(measure.cost(partial(copy, work / f"{way} {i}")))
    files = sum(path.is_file() for path in (work / f"{PLAIN} 0").rglob("*"))

figures = {"files": files, "goal_cpu_s": GOAL_CPU_S}
table = [["way", "CPU s", "goal", "wall s"]]
for way, (_, *counted) in costs.items():
    wall_s, cpu_s = (median(values) for values in zip(*counted, strict=True))
    figures[way] = {"cpu_s": cpu_s, "wall_s": wall_s}
    table.append([way, f"{cpu_s:.2f}", f"< {GOAL_CPU_S:g}" * (way == PLAIN), f"{wall_s:.2f}"])
measure.report(f"copier copy, {files} files, median of {RUNS}", table, figures, RUNS)
