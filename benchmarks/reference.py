"""What do the bundled networks take, and what would larger ones? Writes `includes/reference.yaml`.

The interview estimates size, latency, replicas and cost from that file. For each modality: the
network at a ladder of widths, each in a copy of one render that is built for server and device,
made and timed by the render's own stages. Weights change neither speed nor size, so each width
trains for one epoch, on all cores. Widths are timed in turns; a figure is the median over the
rounds. The network for tables starts with the smallest file, so its ladder has larger steps.

The rule: latency grows with the int8 size, in proportion, from that of the bundled network on:

    p95_ms(mb) = p95_ms + p95_ms_per_mb * (mb - model_mb)        and the same for the mean

It meets the bundled network exactly; its slope makes the squares of the relative errors at the
other widths least, and is never negative. `rule_off_by` is the largest of these errors, over both
places and both figures, with the noise of the machine in it.
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
HEADER = "# Written by `make bench-reference`: what the bundled networks take. Do not edit by hand."


def walk(folder: Path, stages: Sequence[str]) -> Path:
    """Run stages of a render in one process; return the environment they ran in."""
    place = measure.training(folder)
    road = [place / "bin" / "python", measure.INSIDE / "road.py", measure.PACKAGE, *stages]
    measure.run(road, folder, measure.variables(folder, place))
    return place


def edit(path: Path, line: str, text: str) -> None:
    """Replace the one line that starts like this."""
    content, found = re.subn(f"^{line}", text, path.read_text(), flags=re.MULTILINE)
    if found != 1:
        raise SystemExit(f"{path.name} has {found} lines like {line}")
    path.write_text(content)


def widened(data: Path, width: int) -> Path:
    """Copy a render that has its data, widen the network there, train it a little, ship it."""
    folder = Path(shutil.copytree(data, data.with_name(f"{data.name}-x{width}")))
    edit(folder / f"src/{measure.PACKAGE}/task/model.py", r"WIDTH = \d+", rf"\g<0> * {width}")
    edit(folder / "params.yaml", r"epochs: \d+", "epochs: 1")
    edit(folder / "params.yaml", r"training_threads: \d+", f"training_threads: {os.cpu_count()}")
    walk(folder, MODEL)
    return folder


def timed(folder: Path) -> dict[str, float]:
    """Time the network of a render once; return its size, and both figures for both places."""
    walk(folder, ["benchmark"])
    speed = json.loads((folder / "reports/benchmark.json").read_text())
    found = {"MB": (folder / "models/shipped.onnx").stat().st_size / 1e6}
    for where in PLACES:
        found[f"{where} p95_ms"] = speed[where]["latency_p95_ms"]
        found[f"{where} mean_ms"] = 1000 / speed[where]["throughput_per_s"]
    return found


def rule(mb: Sequence[float], ms: Sequence[float]) -> tuple[float, list[float]]:
    """Return the slope from the first point on, and the relative error at each point."""
    points = [((x - mb[0]) / y, (y - ms[0]) / y) for x, y in zip(mb, ms, strict=True)]
    slope = max(0.0, sum(x * y for x, y in points) / sum(x * x for x, _ in points))
    return slope, [abs(slope * x - y) for x, y in points]


def four_digits(figures: Any) -> Any:
    """Round every number in it to four significant digits."""
    return json.loads(json.dumps(figures), parse_float=lambda text: float(f"{float(text):.4g}"))


steps = [(modality, width) for modality, widths in LADDERS.items() for width in widths]
folders, runs = {}, {step: [] for step in steps}
with measure.workspace() as work:
    source = measure.template(work / "template")
    for modality, width in track(steps, "Making the networks", console=measure.console):
        if not (data := work / modality).exists():
            place = walk(measure.render(source, data, modality=modality, target="hybrid"), DATA)
        folders[modality, width] = widened(data, width)
    for step in track(steps * ROUNDS, "Timing in turns", console=measure.console):
        runs[step].append(timed(folders[step]))

models, table = {}, []
for modality, widths in LADDERS.items():
    rounds = [runs[modality, width] for width in widths]
    ladder = {key: [median(run[key] for run in found) for found in rounds] for key in rounds[0][0]}
    mb, worst = ladder["MB"], [0.0] * len(widths)
    block = models[modality] = {"model_mb": mb[0], "largest_mb": mb[-1], "rule_off_by": 0.0}
    for where in PLACES:
        block[where] = {figure: ladder[f"{where} {figure}"][0] for figure in FIGURES}
        for figure in FIGURES:
            slope, errors = rule(mb, ladder[f"{where} {figure}"])
            block[where][f"{figure}_per_mb"] = slope
            worst = list(map(max, worst, errors))
    block["rule_off_by"] = max(worst)
    for width, error, *numbers in zip(widths, worst, *ladder.values(), strict=True):
        texts = [f"{number:.4g}" for number in numbers]
        table.append([f"{modality} x{width}", *texts, f"{error:.0%}"])

(runtime,) = distributions(name="onnxruntime", path=map(str, place.glob("lib/*/site-packages")))
versions = f"Python {platform.python_version()}, onnxruntime {runtime.version}"
facts = {"measured_on": f"{date.today()}", "machine": f"{os.cpu_count()} cores, {versions}"}
content = four_digits(facts | {"models": models})
text = yaml.safe_dump(content, default_flow_style=None, sort_keys=False, width=100)
(measure.ROOT / "includes" / "reference.yaml").write_text(f"{HEADER}\n{text}")
headings = [f"median of {ROUNDS}", *ladder, "rule off by"]
measure.report("The bundled networks, and wider", [headings, *table], models, ROUNDS, place)
