"""Measure how often the bounds of the metrics hold.

For each type of answer: draw 400 samples of a known population, and count how often the bound of
`problem/metrics.py`, at 95 % confidence, is on the right side of the true value. 0.95 or more is
right. The true value is that of a sample of 400,000.
"""

import json
import subprocess
from typing import Any

from rich.progress import track

import measure

SAMPLES, CONFIDENCE = 400, 0.95
PROBLEMS = ("classification", "multilabel", "regression", "forecast")

figures: dict[str, Any] = {}
rows = [["answer", "metric", "population", "examples", "bound holds"]]
with measure.workspace() as work:
    source = measure.template(work / "template")
    for problem in track(PROBLEMS, "Sampling", console=measure.console):
        answers = {"modality": "tabular", "target": "cloud", "problem": problem}
        folder = measure.render(source, work / problem, **answers)
        place = measure.environment(measure.requirements(folder, "serve"))
        script = measure.INSIDE / "bounds.py"
        words = [place / "bin" / "python", script, measure.PACKAGE, str(SAMPLES), str(CONFIDENCE)]
        env = measure.variables(folder, place)
        result = subprocess.run(words, cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
        if result.returncode:
            raise SystemExit(f"inside/bounds.py failed for {problem}, see above")
        for line in result.stdout.splitlines():
            metric, population, n, share = json.loads(line)
            figures.setdefault(f"{metric}: {population}", {})[n] = share
            rows.append([problem, metric, population, str(n), f"{share:.3f}"])

title = f"Share of {SAMPLES} samples whose bound holds at {CONFIDENCE:.0%} confidence"
measure.report(title, rows, figures, SAMPLES, place)
