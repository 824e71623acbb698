"""`promtool check metrics` on the server and the collector of a project.

It accepts every metric except two, whose names are kept because rules and dashboards of deployed
projects read them. `_bucket` belongs to histograms by convention; Prometheus treats a gauge of that
name as any other gauge, and no histogram is called `promised_latency`.
"""

import json
import shutil
import subprocess
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from server import serving
from test_outbox import collector, end, folder  # noqa: F401

BUCKET = """\
promised_latency_bucket non-histogram metrics should not have "_bucket" suffix
promised_latency_bucket non-histogram metrics should not have "le" label
"""
UNIT = "device_latency_p95_ms metric names should not contain abbreviated units\n"
NEVER = dict.fromkeys(("latency_p95_ms", "drift_score_max"), 1.0)
REPORT = {"device": "line-1", "version": "1", "model_sha256": "0" * 64, "disk_free_bytes": 1}
REPORT |= {"outbox_depth": 0, "outbox_dropped": 0} | NEVER


def check(metrics: bytes) -> str:
    if not (promtool := shutil.which("promtool")):
        pytest.skip("promtool is not installed")
    command = [promtool, "check", "metrics"]
    return subprocess.run(command, input=metrics, capture_output=True).stderr.decode()


def test_promtool_accepts_the_metrics_of_a_server(released: Path, tmp_path: Path) -> None:
    with serving(released, log=tmp_path / "log") as server:
        server.ask()
        assert check(server.ask("/metrics").body) == BUCKET


def test_promtool_accepts_the_metrics_of_a_collector(folder: Path) -> None:  # noqa: F811
    process, port = collector(folder)
    try:
        site = f"http://127.0.0.1:{port}"
        with urlopen(Request(f"{site}/events", json.dumps(REPORT).encode())) as reply:
            assert reply.status == 200
        with urlopen(f"{site}/metrics") as reply:
            metrics = reply.read()
        for path in ("metrics", "healthz"):
            with urlopen(Request(f"{site}/{path}", method="HEAD")) as reply:
                assert (reply.status, reply.read()) == (200, b"")
    finally:
        end(process)
    assert b'device_latency_p95_ms{device="line-1"} 1.0' in metrics
    assert check(metrics) == UNIT + BUCKET
