"""Measure latency and memory of a model file in a separate process."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

import numpy as np

from ..predictor import Predictor

# The first runs allocate memory and select kernels. Of 400 runs, 20 are slower than the p95. Slower
# networks, above 2.5 ms, get fewer runs, but at least 20: nine variants must take only seconds.
WARM_UP = 10
MIN_RUNS = 30
MAX_RUNS = 400
MAX_SECONDS = 1.0


class Network(Protocol):
    """Any runtime: features float32 (n, *input_shape) to decoded outputs (n, width)."""

    input_shape: tuple[int, ...]

    def outputs(self, x: np.ndarray) -> np.ndarray: ...


def footprint(path: Path, module: str = __name__) -> dict[str, float]:
    """Measure a model file on one example and one thread, in a new process.

    `module` is run with the path; it prints the result of `measure` as JSON.

    Raises:
        CalledProcessError: the process failed or was killed.
    """
    command = [sys.executable, "-m", module, str(path)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    measured: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return measured


def measure(network: Network) -> dict[str, float]:
    """Measure median and 95th percentile in milliseconds, and peak memory in megabytes."""
    timings_ms = list[float]()
    x = np.random.default_rng(0).normal(size=(1, *network.input_shape)).astype(np.float32)
    until = time.perf_counter() + MAX_SECONDS
    while len(timings_ms) < MIN_RUNS or (
        len(timings_ms) < MAX_RUNS and time.perf_counter() < until
    ):
        start = time.perf_counter()
        network.outputs(x)
        timings_ms.append(1000 * (time.perf_counter() - start))
    p50, p95 = np.percentile(timings_ms[WARM_UP:], [50, 95])
    peak_mb = _peak_memory_mb()
    return {"latency_p50_ms": float(p50), "latency_p95_ms": float(p95), "peak_memory_mb": peak_mb}


def _peak_memory_mb() -> float:
    """Read `/proc` on Linux: `getrusage` would include the memory of the parent before `exec`."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"VmHWM:\s*(\d+) kB", status.read_text())[0]) * 1024 / 1e6
    import resource  # missing on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS


if __name__ == "__main__":
    print(json.dumps(measure(Predictor(Path(sys.argv[1])))))
