"""What does DVC cost on top of the work itself?

The same road, from sample data to verdicts, as `dvc repro` (a process per stage, hashes, a cache)
and in one process that calls the stages one after the other. Each run starts in a fresh copy of
the default render; the sides alternate, after one uncounted `dvc repro`; each pair gives a ratio.
The ratio is what counts: seconds are those of this machine, and on a shared one wall seconds
stray, so the ratio of CPU seconds stands beside that of wall seconds.
"""

import shutil
import subprocess
from statistics import median

from rich.progress import track

import measure

PAIRS = 3
GOAL_RATIO = 1.5

with measure.workspace() as work:
    rendered = measure.render(measure.template(work / "template"), work / "render")
    place = measure.training(rendered)
    sides = {
        "one process": [place / "bin" / "python", measure.INSIDE / "road.py", measure.PACKAGE],
        "dvc repro": [place / "bin" / "dvc", "repro"],
    }

    def walk(side: str) -> measure.Cost:
        """Walk the road once, in a copy of the render that has never seen it."""
        folder = shutil.copytree(rendered, work / "run")
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        env = measure.variables(folder, place)
        spent = measure.cost(lambda: measure.run(sides[side], folder, env))
        shutil.rmtree(folder)
        return spent

    with measure.console.status("Warming up"):
        walk("dvc repro")
    pairs = [[*map(walk, sides)] for _ in track(range(PAIRS), "Pairs", console=measure.console)]

ratios = [repro.wall_s / single.wall_s for single, repro in pairs]
cpu_ratios = [repro.cpu_s / single.cpu_s for single, repro in pairs]
table = [["wall s (CPU s)", *sides, f"ratio, goal <= {GOAL_RATIO}"]]
for i, pair in enumerate(pairs):
    seconds = [f"{spent.wall_s:.1f} ({spent.cpu_s:.1f})" for spent in pair]
    table.append([f"pair {i + 1}", *seconds, f"{ratios[i]:.2f} ({cpu_ratios[i]:.2f})"])
table.append(["median", "", "", f"{median(ratios):.2f} ({median(cpu_ratios):.2f})"])
figures = {
    "goal_ratio": GOAL_RATIO,
    "wall_ratio": median(ratios),
    "cpu_ratio": median(cpu_ratios),
    "one_process": [pair[0]._asdict() for pair in pairs],
    "dvc_repro": [pair[1]._asdict() for pair in pairs],
}
measure.report("The road: dvc repro against one process", table, figures, PAIRS, place)
