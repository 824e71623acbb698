"""Compare other runtimes with ONNX Runtime on the bundled networks.

For each modality: run the pipeline in one process, then convert to every format that runs on Linux,
each in its own environment, like `make formats`. ONNX Runtime with float32 and plain int8
(`int8_minmax`, whatever `compress` chooses) and the other runtimes are timed in turns, each round
in a new process, by the code that times the variants: one example, one thread, random features.
Ratios compare medians with those of ONNX Runtime float32 in the same round. Memory is that of the
Python process, including everything that the runtime's bindings load.
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
STAGES = ["ingest", "validate", "featurize", "train", "export", "compress", "int8"]


def convert_all(folder: Path) -> dict[str, list[str | Path]]:
    """Train the network and convert it; return the timing command of each runtime."""
    place = measure.training(folder)
    python, env = place / "bin" / "python", measure.variables(folder, place)
    measure.run([python, measure.INSIDE / "run_stages.py", measure.PACKAGE, *STAGES], folder, env)
    module = f"{measure.PACKAGE}.pipeline.footprint"
    timings = {name: [python, "-m", module, path] for name, path in ONNX.items()}
    for name in FORMATS:
        place = measure.environment(measure.requirements(folder, "train", name))
        python, formats = place / "bin" / "python", f"{measure.PACKAGE}.formats"
        measure.run([python, "-m", f"{formats}.convert", name], folder, env)
        timings[name] = [python, "-m", f"{formats}.runtime", f"models/{name}"]
    return timings


def time_runtime(command: list[str | Path], folder: Path) -> dict[str, float]:
    """Time one runtime once, in a new process."""
    env = measure.variables(folder, Path(command[0]).parent.parent)
    result = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout.splitlines()[-1])


def size_mb(path: Path) -> float:
    """Return the size of a file or folder in MB."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


figures, table = {}, []
with measure.workspace() as work:
    source = measure.template(work / "template")
    for modality in measure.MODALITIES:
        chosen = {"modality": modality, "target": "edge", "export_formats": ", ".join(FORMATS)}
        folder = measure.render(source, work / modality, **chosen)
        place = measure.training(folder)
        with measure.console.status(f"Training {modality}"):
            timings = convert_all(folder)
        rounds = [
            {name: time_runtime(command, folder) for name, command in timings.items()}
            for _ in track(range(ROUNDS), f"Timing {modality}", console=measure.console)
        ]
        figures[modality] = {}
        for name, command in timings.items():
            p50s = [each[name]["latency_p50_ms"] for each in rounds]
            fp32 = [each["onnxruntime fp32"]["latency_p50_ms"] for each in rounds]
            ratios = [own / reference for own, reference in zip(p50s, fp32, strict=True)]
            row = figures[modality][name] = {
                "size_mb": size_mb(folder / str(command[-1])),
                "latency_p50_ms": median(p50s),
                "latency_p95_ms": median(each[name]["latency_p95_ms"] for each in rounds),
                "peak_memory_mb": median(each[name]["peak_memory_mb"] for each in rounds),
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
title = "Runtimes, timed in turns"
measure.report(title, [headings, *table], figures, ROUNDS, place)
