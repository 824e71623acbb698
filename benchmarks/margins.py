"""How far from its limit is each gate, when only the sample data is another draw?

For each modality: the road for five data seeds in one process, each judged by the gates of the
render. A margin is the distance to the limit, in the unit of the gate; the smallest of the five
says how much bad luck an untouched render can take. Shown are the gates that the data decides;
a broken one of the others (latency, size, cost) would be named in the title.
"""

import json
import subprocess
from pathlib import Path
from statistics import median
from typing import Any

from rich.progress import Progress

import measure

SEEDS = 5
SHOWN = ("quality", "worst_slice", "baseline_gain", "int8_parity", "int8_drop", "onnx_parity")


def walk(folder: Path, place: Path, progress: Progress) -> list[dict[str, Any]]:
    """Walk the road for every seed; return the metric and the verdicts of each."""
    command = [place / "bin" / "python", measure.INSIDE / "seeds.py", measure.PACKAGE, str(SEEDS)]
    task, found = progress.add_task(folder.name, total=SEEDS), []
    with subprocess.Popen(
        command, cwd=folder, env=measure.variables(folder, place), stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout or []:
            if line.startswith("{"):
                found.append(json.loads(line))
                progress.advance(task)
    if process.returncode:
        raise SystemExit(f"The road failed for {folder.name}, see above")
    return found


def margin(gate: dict[str, Any]) -> float:
    """Return how much worse it could be."""
    distance = gate["observed"] - gate["limit"]
    return distance if gate["comparison"] == ">=" else -distance


figures, rows, broken = {}, [], []
with measure.workspace() as work, Progress(console=measure.console) as progress:
    source = measure.template(work / "template")
    for modality in measure.MODALITIES:
        folder = measure.render(source, work / modality, modality=modality)
        place = measure.training(folder)
        found = walk(folder, place, progress)
        values = [seed["value"] for seed in found]
        figures[modality] = {"metric": {"values": values, "median": median(values)}}
        worst = f"{min(values):.4g}"
        rows.append([modality, "metric, no bound", f"{median(values):.4g}", worst, "", ""])
        for gates in zip(*(seed["gates"] for seed in found), strict=True):
            smallest = min(gates, key=margin)
            if margin(smallest) < 0:
                broken.append(f"{modality} {smallest['id']}")
            if smallest["id"] not in SHOWN:
                continue
            seen = [gate["observed"] for gate in gates]
            limit = {key: smallest[key] for key in ("comparison", "limit")}
            figures[modality][smallest["id"]] = limit | {
                "values": seen,
                "median": median(seen),
                "smallest_margin": margin(smallest),
            }
            numbers = [f"{median(seen):.4g}", f"{smallest['observed']:.4g}"]
            limit_text = f"{smallest['comparison']} {smallest['limit']:g}"
            rows.append(["", smallest["id"], *numbers, limit_text, f"{margin(smallest):+.4g}"])

title = f"Gates over {SEEDS} data seeds; broken: {', '.join(broken) or 'none'}"
headings = ["modality", "gate", "median", "worst", "limit", "smallest margin"]
measure.report(title, [headings, *rows], figures | {"broken": broken}, SEEDS, place)
