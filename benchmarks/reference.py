"""Measure size and latency of the bundled networks and wider ones; write `includes/reference.yaml`.

The interview estimates size, latency, replicas and cost from that file. For each modality, copies
of a hybrid render with networks of increasing width are trained and timed by the render's stages.
Weights affect neither speed nor size, so each network trains for one epoch on all cores. Widths are
timed in turns; figures are medians over the rounds. The network for tables is the smallest, so its
widths increase in larger steps.

The model: latency grows linearly with the int8 size, starting at the bundled network:

    p95_ms(mb) = p95_ms + p95_ms_per_mb * (mb - model_mb)        and likewise for the mean

It is exact for the bundled network. The slope minimises the squared relative errors of the other
widths and is never negative. `rule_off_by` is the largest relative error over server and device,
p95 and mean; it includes the noise of the machine.
"""

import json
import os
import platform
import re
import shutil
from collections.abc import Sequence
from datetime import date
from importlib.metadata import distributions
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from rich.progress import track

import measure

ROUNDS = 7
LADDERS = {"image": (1, 2, 4, 8, 16), "audio": (1, 2, 4, 8, 16), "tabular": (1, 4, 16, 32, 64)}
DATA, MODEL = ["ingest", "validate", "featurize"], ["train", "export", "int8", "evaluate"]
PLACES, FIGURES = ("server", "device"), ("p95_ms", "mean_ms")
HEADER = (
    "# Written by `make bench-reference`: size and latency of the bundled networks. Do not edit."
)


def run_stages(folder: Path, stages: Sequence[str]) -> Path:
    """Run stages of a render in one process; return its environment."""
    place = measure.training(folder)
    command = [place / "bin" / "python", measure.INSIDE / "run_stages.py", measure.PACKAGE, *stages]
    measure.run(command, folder, measure.variables(folder, place))
    return place


def edit(path: Path, line: str, text: str) -> None:
    """Replace the only line that starts with a pattern."""
    content, count = re.subn(f"^{line}", text, path.read_text(), flags=re.MULTILINE)
    if count != 1:
        raise SystemExit(f"{path.name} has {count} lines like {line}")
    path.write_text(content)


def widen(data: Path, width: int) -> Path:
    """Copy a render with data, widen its network, train it for one epoch and ship it."""
    folder = Path(shutil.copytree(data, data.with_name(f"{data.name}-x{width}")))
    edit(folder / f"src/{measure.PACKAGE}/task/model.py", r"WIDTH = \d+", rf"\g<0> * {width}")
    edit(folder / "params.yaml", r"epochs: \d+", "epochs: 1")
    edit(folder / "params.yaml", r"training_threads: \d+", f"training_threads: {os.cpu_count()}")
    run_stages(folder, MODEL)
    return folder


def time_network(folder: Path) -> dict[str, float]:
    """Time the network of a render once; return its size, p95 and mean for server and device."""
    run_stages(folder, ["benchmark"])
    speed = json.loads((folder / "reports/benchmark.json").read_text())
    figures = {"MB": (folder / "models/shipped.onnx").stat().st_size / 1e6}
    for where in PLACES:
        figures[f"{where} p95_ms"] = speed[where]["latency_p95_ms"]
        figures[f"{where} mean_ms"] = 1000 / speed[where]["throughput_per_s"]
    return figures


def fit_slope(mb: Sequence[float], ms: Sequence[float]) -> tuple[float, list[float]]:
    """Return the slope of a line through the first point, and the relative error of each point."""
    points = [((x - mb[0]) / y, (y - ms[0]) / y) for x, y in zip(mb, ms, strict=True)]
    slope = max(0.0, sum(x * y for x, y in points) / sum(x * x for x, _ in points))
    return slope, [abs(slope * x - y) for x, y in points]


def round_figures(figures: Any) -> Any:
    """Round all numbers to four significant digits."""
    return json.loads(json.dumps(figures), parse_float=lambda text: float(f"{float(text):.4g}"))


steps = [(modality, width) for modality, widths in LADDERS.items() for width in widths]
folders, runs = {}, {step: [] for step in steps}
with measure.workspace() as work:
    source = measure.template(work / "template")
    for modality, width in track(steps, "Training the networks", console=measure.console):
        if not (data := work / modality).exists():
            place = run_stages(
                measure.render(source, data, modality=modality, target="hybrid"), DATA
            )
        folders[modality, width] = widen(data, width)
    for step in track(steps * ROUNDS, "Timing in turns", console=measure.console):
        runs[step].append(time_network(folders[step]))

models, table = {}, []
for modality, widths in LADDERS.items():
    rounds = [runs[modality, width] for width in widths]
    ladder = {key: [median(run[key] for run in row) for row in rounds] for key in rounds[0][0]}
    mb, worst = ladder["MB"], [0.0] * len(widths)
    block = models[modality] = {"model_mb": mb[0], "largest_mb": mb[-1], "rule_off_by": 0.0}
    for where in PLACES:
        block[where] = {figure: ladder[f"{where} {figure}"][0] for figure in FIGURES}
        for figure in FIGURES:
            slope, errors = fit_slope(mb, ladder[f"{where} {figure}"])
            block[where][f"{figure}_per_mb"] = slope
            worst = list(map(max, worst, errors))
    block["rule_off_by"] = max(worst)
    for width, error, *numbers in zip(widths, worst, *ladder.values(), strict=True):
        texts = [f"{number:.4g}" for number in numbers]
        table.append([f"{modality} x{width}", *texts, f"{error:.0%}"])

(runtime,) = distributions(name="onnxruntime", path=map(str, place.glob("lib/*/site-packages")))
versions = f"Python {platform.python_version()}, onnxruntime {runtime.version}"
facts = {"measured_on": f"{date.today()}", "machine": f"{os.cpu_count()} cores, {versions}"}
content = round_figures(facts | {"models": models})
text = yaml.safe_dump(content, default_flow_style=None, sort_keys=False, width=100)
(measure.ROOT / "includes" / "reference.yaml").write_text(f"{HEADER}\n{text}")
headings = [f"median of {ROUNDS}", *ladder, "largest error"]
measure.report("The bundled networks and wider ones", [headings, *table], models, ROUNDS, place)
