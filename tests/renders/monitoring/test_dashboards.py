"""The Grafana dashboards: valid JSON, and every expression returns data of real processes."""

import json
import re
import shutil
import subprocess
from copy import deepcopy
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml

from conftest import Render
from containers import free_port
from promql import OF_PROMETHEUS, Samples, find_metrics, samples
from server import Server, command, release, serving
from test_outbox import collector, end, until
from watching import Watch, tool

FOLDER = "deploy/grafana/dashboards"
PRESENT = {
    "cloud": ["server.json"],
    "edge": ["fleet.json"],
    "hybrid": ["fleet.json", "server.json"],
}
# A fast model would even meet a timeout of 1 ms.
SLOWER = """
import time
from scratch_detector.predictor import Predictor
original = Predictor.run
Predictor.run = lambda *inputs: (time.sleep(0.01), original(*inputs))[1]
"""
REPORT = {
    "device": "line-1",
    "version": "1",
    "model_sha256": "0" * 64,
    "latency_p95_ms": 1.5,
    "drift_score_max": 0.5,
    "disk_free_bytes": 10**9,
    "outbox_depth": 0,
    "outbox_dropped": 0,
    "model_current_timestamp_seconds": 1e9,
}


@pytest.fixture(scope="session")
def dashboards(render: Render) -> dict[str, Any]:
    folder = render(modality="tabular", target="hybrid") / FOLDER
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def check_layout(dashboard: Any) -> None:
    """Check ids, data sources and positions of the panels."""
    assert dashboard["title"] and 0 < len(dashboard["uid"]) <= 40
    (variable,) = dashboard["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    panels = dashboard["panels"]
    source = {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
    assert panels and len({panel["id"] for panel in panels}) == len(panels), "ids are unique"
    assert len({panel["title"] for panel in panels if panel["type"] == "timeseries"}) > 1
    for panel in panels:
        at = panel["gridPos"]
        assert panel["type"] in ("stat", "timeseries") and panel["title"]
        assert panel["datasource"] == source
        assert 0 <= at["x"] < at["x"] + at["w"] <= 24 and at["h"] > 0 and at["y"] >= 0
        letters = [target["refId"] for target in panel["targets"]]
        assert letters and len(set(letters)) == len(letters)
        assert all(target["expr"] for target in panel["targets"])
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_below, f"{one} and {other} overlap"


def check_expressions(dashboard: Any, known: Samples) -> None:
    """Check that every metric, label and value in the dashboard exists."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            names = find_metrics(target["expr"], known)
            labels = {label for name in names for series in known[name] for label in series}
            legend = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            assert legend <= labels | OF_PROMETHEUS, target


def limit_line(panel: Any) -> list[str]:
    """Return the expressions of the limit lines of a panel."""
    names = ("limit", "promised")
    return [t["expr"] for t in panel["targets"] if t.get("legendFormat") in names]


@pytest.mark.parametrize("target", PRESENT)
def test_each_target_has_valid_dashboards(target: str, render: Render) -> None:
    folder = render(modality="tabular", target=target)
    paths = sorted((folder / FOLDER).glob("*.json"))
    assert [path.name for path in paths] == PRESENT[target]
    for path in paths:
        check_layout(json.loads(path.read_text()))
        for page, heading in re.findall(r"(docs/runbook[\w/]*\.md)#([\w-]+)", path.read_text()):
            headings = re.findall(r"(?m)^## (.+)$", (folder / page).read_text())
            assert heading in {h.lower().replace(" ", "-") for h in headings}, heading


FAULTS: list[tuple[str, Any]] = [
    ("panels/1/id", 1),
    ("panels/1/gridPos/x", 2),
    ("panels/6/gridPos/y", 3),
    ("panels/7/gridPos/w", 13),
    ("panels/0/datasource/uid", "P1234"),
    ("panels/0/targets/0/expr", ""),
    ("panels/0/targets", []),
    ("panels/6/targets/1/refId", "A"),
    ("templating/list/0/type", "query"),
]


@pytest.mark.parametrize(("path", "value"), FAULTS, ids=lambda value: str(value))
def test_detects_an_invalid_dashboard(path: str, value: Any, dashboards: dict[str, Any]) -> None:
    changed = deepcopy(dashboards["server"])
    *parents, last = path.split("/")
    at: Any = changed
    for key in parents:
        at = at[int(key) if key.isdigit() else key]
    at[last] = value
    with pytest.raises(AssertionError):
        check_layout(changed)


def test_dashboards_repeat_no_number_of_the_scope(
    dashboards: dict[str, Any], render: Render
) -> None:
    text = (render(modality="tabular", target="hybrid") / "scope.yaml").read_text()
    limits: dict[str, Any] = {}
    scope = yaml.safe_load(text)
    for part in (scope, scope["watch"], scope["fleet"]):
        limits |= {key: value for key, value in part.items() if not isinstance(value, dict)}
    shown = set[str]()
    for dashboard in dashboards.values():
        for panel in dashboard["panels"]:
            for expr in limit_line(panel):
                keys = re.findall(r'scope_limit\{key="(\w+)"\}', expr)
                assert keys or expr in ("vector(1)", "vector(0.95)"), "a limit is hard-coded"
                shown |= set(keys)
    assert shown <= limits.keys()
    assert {"max_latency_p95_ms", "min_metric", "max_drift_score", "max_model_age_days"} <= shown


@pytest.fixture(scope="module")
def project(modelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a champion; quality needs twenty labels."""
    folder = tmp_path_factory.mktemp("released") / "repo"
    shutil.copytree(modelled, folder, symlinks=True)
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(
        params.replace("labelled_window: 200", "labelled_window: 20")
    )
    command(folder, "example")
    release(folder)
    return folder


def send_all_kinds_of_traffic(server: Server, folder: Path) -> None:
    """Send predictions, errors of client and server, and labels, and start a challenger."""
    command(folder, "challenge", release(folder, "again"))
    until(lambda: b"challenger_rule_ratio{" in server.ask("/metrics").body)
    for i in range(260):
        label = server.ask(x_request_id=f"r-{i}", x_timeout_ms="30000").json["label"]
        if i < 20:
            body = json.dumps({"id": f"r-{i}", "label": label, "slice": "line-1"}).encode()
            server.ask("/feedback", body, content_type="application/json")
    assert server.ask(body=b"{").status == 422
    assert server.ask(x_timeout_ms="0.001").status == 503


def send_report(port: int) -> None:
    """Send the report of a device."""
    body = json.dumps(REPORT).encode()
    with urlopen(Request(f"http://127.0.0.1:{port}/events", body), timeout=30) as response:
        assert response.status == 200


def fleet_project(render: Render, tmp_path: Path) -> Path:
    shutil.copytree(render(modality="tabular", target="hybrid"), tmp_path / "fleet")
    return tmp_path / "fleet"


def test_a_server_exports_all_metrics_of_its_dashboard(
    project: Path, tmp_path: Path, dashboards: dict[str, Any]
) -> None:
    shutil.copytree(project, tmp_path / "repo", symlinks=True)
    with serving(tmp_path / "repo", SLOWER, command="serve", log=tmp_path / "log") as server:
        send_all_kinds_of_traffic(server, tmp_path / "repo")
        known = samples(server.ask("/metrics").body.decode())
    check_expressions(dashboards["server"], known)
    for old, new in (
        ("waiting_requests", "waiting_request"),
        ('status=~\\"5..\\"', 'status=~\\"6..\\"'),
        ("by (signal)", "by (signals)"),
        ("{{rule}}", "{{rules}}"),
        ('key=\\"min_metric\\"', 'key=\\"min_metrics\\"'),
    ):
        text = json.dumps(dashboards["server"])
        assert old in text
        with pytest.raises(AssertionError):
            check_expressions(json.loads(text.replace(old, new)), known)
    broken = json.loads(json.dumps(dashboards["server"]).replace("sum(rate(", "sum rate(", 1))
    with pytest.raises(ValueError):
        check_expressions(broken, known)


def test_a_collector_exports_all_metrics_of_its_dashboard(
    render: Render, tmp_path: Path, dashboards: dict[str, Any]
) -> None:
    process, port = collector(fleet_project(render, tmp_path))
    try:
        send_report(port)
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
            known = samples(response.read().decode())
    finally:
        end(process)
    check_expressions(dashboards["fleet"], known)
    text = json.dumps(dashboards["fleet"])
    with pytest.raises(AssertionError, match="device_disk_free_byte:|device_disk_free_byte "):
        check_expressions(
            json.loads(text.replace("device_disk_free_bytes", "device_disk_free_byte")), known
        )


@pytest.mark.long
def test_a_real_prometheus_evaluates_every_expression(
    project: Path, render: Render, tmp_path: Path, dashboards: dict[str, Any]
) -> None:
    """Labels on both sides of an operator must match, which names alone do not show."""
    shutil.copytree(project, tmp_path / "repo", symlinks=True)
    process, collecting = collector(fleet_project(render, tmp_path))
    send_report(collecting)
    web = free_port()
    with serving(tmp_path / "repo", SLOWER, command="serve", log=tmp_path / "log") as server:
        jobs = {"server": server.port, "collector": collecting}
        scrape = [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            for job, port in jobs.items()
        ]
        config = {"global": {"scrape_interval": "1s"}, "scrape_configs": scrape}
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        line = [tool("prometheus"), f"--config.file={tmp_path}/prometheus.yml"]
        line += [f"--storage.tsdb.path={tmp_path}/tsdb", f"--web.listen-address=127.0.0.1:{web}"]
        with (tmp_path / "prometheus.log").open("w") as log:
            prometheus = subprocess.Popen(line, stdout=log, stderr=log)
        try:
            until(lambda: Watch(web).query("count(up == 1) == 2"))
            send_all_kinds_of_traffic(server, tmp_path / "repo")
            until(lambda: Watch(web).query('rate(refusals_total{status="422"}[1m]) > 0'))
            until(lambda: Watch(web).query("labelled_quality >= 0"))  # NaN before the labels
            for dashboard in dashboards.values():
                for panel in dashboard["panels"]:
                    for target in panel["targets"]:
                        result = Watch(web).query(target["expr"])
                        values = [float(series["value"][1]) for series in result]
                        assert values and all(value == value for value in values), target["expr"]
            wrong = "prediction_latency_seconds_bucket * on (job, le) scope_limit"
            assert Watch(web).query(wrong) == []
        finally:
            end(prometheus)
            end(process)
