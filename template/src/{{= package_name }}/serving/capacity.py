"""Computes the number of servers from scope.yaml and the benchmark, and writes it to deploy/."""

import re
from pathlib import Path

from ..artifacts import read_report
from ..cost import PRICES, Prices, replicas
from ..scope import load_scope, read_yaml

AUTOSCALER = Path("deploy/kubernetes/autoscaler.yaml")
CLOUD_RUN = Path("deploy/cloud-run.yaml")
KSERVE = Path("deploy/kserve/inference-service.yaml")
MAX_CONCURRENCY = 1000  # of Cloud Run


def size() -> None:
    """Write the minimum and maximum number of servers and their target load to deploy/."""
    scope = load_scope()
    prices = read_yaml(PRICES, Prices)
    speed = read_report("benchmark")["server"]["throughput_per_s"]
    least = prices.price_of("server").at_least
    most = replicas("server", speed, scope.peak_requests_per_s)
    busy_percent = max(1, round(100 * prices.utilisation))
    # Little's law: this many concurrent requests still meet max_latency_p95_ms.
    in_time = max(1, min(MAX_CONCURRENCY, int(speed * scope.max_latency_p95_s)))
    _write(AUTOSCALER, minReplicas=least, maxReplicas=most, averageUtilization=busy_percent)
    _write(CLOUD_RUN, minScale=least, maxScale=most, containerConcurrency=in_time)
    _write(KSERVE, minReplicas=least, maxReplicas=most, scaleTarget=busy_percent)


def _write(path: Path, **numbers: int) -> None:
    """Replace the number after each key and keep the rest of the file, including comments."""
    text = path.read_text()
    for key, number in numbers.items():
        text, count = re.subn(rf'^( *(?:\S+/)?{key}: "?)\d+', rf"\g<1>{number}", text, flags=re.M)
        if count != 1:
            raise SystemExit(f"{path} needs exactly one line `{key}: NUMBER`, but has {count}.")
    path.write_text(text)
    print(f"{path}:", *(f"{key} {number}" for key, number in numbers.items()))
