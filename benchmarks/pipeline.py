"""What does DVC cost on top of the work itself?

The same road, from sample data to verdicts, once as `dvc repro` (a process per stage, hashes, a
cache) and once in a single process that calls the stages one after the other. Each run starts in
a fresh copy of the default render; the two sides alternate, after one uncounted `dvc repro`, and
each pair gives one ratio. The latter is what counts: the seconds are those of this machine.
"""

import shutil
from pathlib import Path
from statistics import median

from rich.progress import track

from measure import (
    INSIDE,
    PACKAGE,
    Cost,
    console,
    cost,
    environment,
    git,
    render,
    report,
    requirements,
    run,
    template,
    variables,
    workplace,
)

PAIRS = 3
GOAL_RATIO = 1.5

with workplace() as work:
    rendered = render(template(work / "template"), work / "render")
    place = environment(requirements(rendered, "serve", "train", "dev"))
    sides = {
        "one process": [place / "bin" / "python", INSIDE / "road.py", PACKAGE],
        "dvc repro": [place / "bin" / "dvc", "repro"],
    }

    def measured(side: str) -> Cost:
        """Walk the road once, in a copy of the render that has never seen it."""
        folder = Path(shutil.copytree(rendered, work / "run"))
        git(folder, "init", "--quiet")
        spent = cost(lambda: run(sides[side], folder, variables(folder, place)))
        shutil.rmtree(folder)
        return spent

    with console.status("Warming up"):
        measured("dvc repro")
    pairs = [
        [measured(side) for side in sides] for _ in track(range(PAIRS), "Pairs", console=console)
    ]

ratios = [repro.wall_s / single.wall_s for single, repro in pairs]
cpu_ratios = [repro.cpu_s / single.cpu_s for single, repro in pairs]
rows = [
    [
        f"pair {i + 1}",
        *(f"{spent.wall_s:.1f} ({spent.cpu_s:.1f})" for spent in pair),
        f"{ratios[i]:.2f} ({cpu_ratios[i]:.2f})",
    ]
    for i, pair in enumerate(pairs)
]
rows.append(["median", "", "", f"{median(ratios):.2f} ({median(cpu_ratios):.2f})"])
columns = ["wall s (CPU s)", *sides, f"ratio, goal <= {GOAL_RATIO}"]
figures = {
    "goal_ratio": GOAL_RATIO,
    "ratio": median(ratios),
    "cpu_ratio": median(cpu_ratios),
    "ratios": ratios,
    "one_process": [pair[0]._asdict() for pair in pairs],
    "dvc_repro": [pair[1]._asdict() for pair in pairs],
}
report("The road: dvc repro against one process", columns, rows, figures, PAIRS, place)
