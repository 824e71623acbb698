"""Sizes the deployment from the promises and the benchmark, and writes it into deploy/."""

import re
from pathlib import Path

from ..artifacts import read_report
from ..cost import PRICES, Prices, replicas
from ..scope import load_scope, read_yaml

AUTOSCALER = Path("deploy/kubernetes/autoscaler.yaml")
CLOUD_RUN = Path("deploy/cloud-run.yaml")
KSERVE = Path("deploy/kserve/inference-service.yaml")
MAX_CONCURRENCY = 1000  # the limit of Cloud Run


def size() -> None:
    """Write the least and largest number of servers, and how busy they may be, into deploy/."""
    scope = load_scope()
    prices = read_yaml(PRICES, Prices)
    speed = read_report("benchmark")["server"]["throughput_per_s"]
    least = prices.price_of("server").at_least
    most = replicas("server", speed, scope.peak_requests_per_s)
    busy_percent = max(1, round(100 * prices.utilisation))
    # Little's law: this many requests at once still leave within the promised latency.
    in_time = max(1, min(MAX_CONCURRENCY, int(speed * scope.max_latency_p95_s)))
    _write(AUTOSCALER, minReplicas=least, maxReplicas=most, averageUtilization=busy_percent)
    _write(CLOUD_RUN, minScale=least, maxScale=most, containerConcurrency=in_time)
    _write(KSERVE, minReplicas=least, maxReplicas=most, scaleTarget=busy_percent)


def _write(path: Path, **numbers: int) -> None:
    """Replace the number after each key, and leave the rest of the file, comments too, as is."""
    text = path.read_text()
    for key, number in numbers.items():
        text, found = re.subn(rf'^( *(?:\S+/)?{key}: "?)\d+', rf"\g<1>{number}", text, flags=re.M)
        if found != 1:
            raise SystemExit(f"{path} needs one line with `{key}: NUMBER`, and has {found}.")
    path.write_text(text)
    print(f"{path}:", *(f"{key} {number}" for key, number in numbers.items()))
