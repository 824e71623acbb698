"""Is another runtime faster than ONNX Runtime, and by how much, on the bundled networks?

For each modality: the road in one process, then every format that runs on Linux, converted and
judged in its own environment, as `make formats` does it. ONNX Runtime with fp32 and with plain int8
(`int8_minmax`, whatever `compress` would choose) and the others are timed in turns, each round in a
new process, by the code that times the candidates: one example, one thread, random features. A
ratio is that of the medians of one round to those of ONNX Runtime's fp32 in the same round. The
memory is that of the Python process, with all that the runtime's bindings load.
"""

import json
import subprocess
from pathlib import Path
from statistics import median

from rich.progress import track

import measure

ROUNDS = 3
FORMATS = ("executorch", "litert", "openvino")
ONNX = {"onnxruntime fp32": "models/model.onnx", "onnxruntime int8": "models/shipped.onnx"}
ROAD = ["ingest", "validate", "featurize", "train", "export", "compress", "int8"]


def made(folder: Path) -> dict[str, list[str | Path]]:
    """Make the network and its formats; return the command that times each."""
    place = measure.training(folder)
    python, env = place / "bin" / "python", measure.variables(folder, place)
    measure.run([python, measure.INSIDE / "road.py", measure.PACKAGE, *ROAD], folder, env)
    module = f"{measure.PACKAGE}.pipeline.footprint"
    timings = {name: [python, "-m", module, path] for name, path in ONNX.items()}
    for name in FORMATS:
        place = measure.environment(measure.requirements(folder, "train", name))
        python, formats = place / "bin" / "python", f"{measure.PACKAGE}.formats"
        measure.run([python, "-m", f"{formats}.convert", name], folder, env)
        timings[name] = [python, "-m", f"{formats}.runtime", f"models/{name}"]
    return timings


def timed(command: list[str | Path], folder: Path) -> dict[str, float]:
    """Time one runtime once, in a process of its own."""
    env = measure.variables(folder, Path(command[0]).parent.parent)
    result = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout.splitlines()[-1])


def size_mb(path: Path) -> float:
    """Weigh a file, or the files of a folder."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


figures, table = {}, []
with measure.workspace() as work:
    source = measure.template(work / "template")
    for modality in measure.MODALITIES:
        chosen = {"modality": modality, "target": "edge", "export_formats": ", ".join(FORMATS)}
        folder = measure.render(source, work / modality, **chosen)
        place = measure.training(folder)
        with measure.console.status(f"Making {modality}"):
            timings = made(folder)
        rounds = [
            {name: timed(command, folder) for name, command in timings.items()}
            for _ in track(range(ROUNDS), f"Timing {modality}", console=measure.console)
        ]
        figures[modality] = {}
        for name, command in timings.items():
            p50s = [found[name]["latency_p50_ms"] for found in rounds]
            fp32 = [found["onnxruntime fp32"]["latency_p50_ms"] for found in rounds]
            ratios = [mine / its for mine, its in zip(p50s, fp32, strict=True)]
            row = figures[modality][name] = {
                "size_mb": size_mb(folder / str(command[-1])),
                "latency_p50_ms": median(p50s),
                "latency_p95_ms": median(found[name]["latency_p95_ms"] for found in rounds),
                "peak_memory_mb": median(found[name]["peak_memory_mb"] for found in rounds),
                "ratio": median(ratios),
                "ratios": ratios,
            }
            p50, p95 = f"{row['latency_p50_ms']:.3g}", f"{row['latency_p95_ms']:.3g}"
            spread = f"{row['ratio']:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            memory, size = f"{row['peak_memory_mb']:.0f}", f"{row['size_mb']:.3f}"
            table.append([f"{modality}: {name}", size, p50, p95, memory, spread])

headings = [
    "one example, one thread",
    "MB",
    "p50 ms",
    "p95 ms",
    "peak MB",
    "p50 / onnxruntime fp32",
]
title = "Other runtimes, in turns"
measure.report(title, [headings, *table], figures, ROUNDS, place)
