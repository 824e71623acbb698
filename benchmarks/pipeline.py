"""Measure the overhead of DVC.

All stages run as `dvc repro` (a process per stage, hashes, a cache) and in one process, in turns
and after one warm-up. Each run starts in a fresh copy of the default render, and each pair gives a
ratio. Ratios of CPU seconds are printed too, because wall seconds vary on a shared machine.
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
        "one process": [
            place / "bin" / "python",
            measure.INSIDE / "run_stages.py",
            measure.PACKAGE,
        ],
        "dvc repro": [place / "bin" / "dvc", "repro"],
    }

    def run_all(side: str) -> measure.Cost:
        """Run all stages once, in a fresh copy of the render."""
        folder = shutil.copytree(rendered, work / "run")
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        env = measure.variables(folder, place)
        spent = measure.cost(lambda: measure.run(sides[side], folder, env))
        shutil.rmtree(folder)
        return spent

    with measure.console.status("Warming up"):
        run_all("dvc repro")
    pairs = [[*map(run_all, sides)] for _ in track(range(PAIRS), "Pairs", console=measure.console)]

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
measure.report("All stages: dvc repro compared with one process", table, figures, PAIRS, place)
