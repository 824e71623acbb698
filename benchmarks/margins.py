"""Measure the margin of each gate over five seeds of the sample data.

For each modality: run the pipeline for five data seeds in one process and compare the results with
the limits of the render. A margin is the distance to the limit in the unit of the gate. The table
shows gates that depend on the data; the title also names others (latency, size, cost) that fail.
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
SHOWN += ("near_copies",)


def run_seeds(folder: Path, place: Path, progress: Progress) -> list[dict[str, Any]]:
    """Run the pipeline for every seed; return the metric and the gates of each."""
    command = [place / "bin" / "python", measure.INSIDE / "seeds.py", measure.PACKAGE, str(SEEDS)]
    task, results = progress.add_task(folder.name, total=SEEDS), []
    with subprocess.Popen(
        command, cwd=folder, env=measure.variables(folder, place), stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout or []:
            if line.startswith("{"):
                results.append(json.loads(line))
                progress.advance(task)
    if process.returncode:
        raise SystemExit(f"The pipeline failed for {folder.name}, see above")
    return results


def margin(gate: dict[str, Any]) -> float:
    """Return the distance to the limit; negative if the gate fails."""
    distance = gate["observed"] - gate["limit"]
    return distance if gate["comparison"] == ">=" else -distance


figures, rows, failed = {}, [], []
with measure.workspace() as work, Progress(console=measure.console) as progress:
    source = measure.template(work / "template")
    for modality in measure.MODALITIES:
        folder = measure.render(source, work / modality, modality=modality)
        place = measure.training(folder)
        results = run_seeds(folder, place, progress)
        values = [seed["value"] for seed in results]
        figures[modality] = {"metric": {"values": values, "median": median(values)}}
        worst = f"{min(values):.4g}"
        rows.append([modality, "metric, not its bound", f"{median(values):.4g}", worst, "", ""])
        for gates in zip(*(seed["gates"] for seed in results), strict=True):
            smallest = min(gates, key=margin)
            if margin(smallest) < 0:
                failed.append(f"{modality} {smallest['id']}")
            if smallest["id"] not in SHOWN:
                continue
            values = [gate["observed"] for gate in gates]
            limit = {key: smallest[key] for key in ("comparison", "limit")}
            figures[modality][smallest["id"]] = limit | {
                "values": values,
                "median": median(values),
                "smallest_margin": margin(smallest),
            }
            numbers = [f"{median(values):.4g}", f"{smallest['observed']:.4g}"]
            limit_text = f"{smallest['comparison']} {smallest['limit']:g}"
            rows.append(["", smallest["id"], *numbers, limit_text, f"{margin(smallest):+.4g}"])

title = f"Gates over {SEEDS} data seeds; failed: {', '.join(failed) or 'none'}"
headings = ["modality", "gate", "median", "worst", "limit", "smallest margin"]
measure.report(title, [headings, *rows], figures | {"failed": failed}, SEEDS, place)
