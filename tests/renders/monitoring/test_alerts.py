"""Alert rules, tested with promtool and with a real Prometheus and Alertmanager."""

import contextlib
import http.client
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import promql_parser
import pytest
import yaml

from conftest import OPTIONS, Render
from containers import free_port
from repository import done, run_in
from server import Server, command, release, roll_out, serving
from test_feedback import feedback, set_values
from test_outbox import collector, delivered, device, end, settings, until
from watching import Watch, tool, watching

LONG = 600  # minutes
Series = dict[str, str]  # values per minute, by series


def steady(value: float) -> str:
    return f"{value}+0x{LONG}"


def rising(by: float) -> str:
    return f"0+{by}x{LONG}"


def then(*parts: tuple[float, int]) -> str:
    """Values, each for a number of minutes."""
    return " ".join(f"{value}+0x{minutes - 1}" for value, minutes in parts)


def servers(number: int, up: str) -> Series:
    """More servers, which export limits and prices like the first one."""
    series: Series = {}
    for i in range(number):
        labels = f'job="server",instance="{i}"'
        series[f"up{{{labels}}}"] = up
        series[f'scope_limit{{{labels},key="confidence"}}'] = up
        series[f'price_usd_month{{{labels},place="server"}}'] = up
    return series


class Case(NamedTuple):
    """Series that make an alert fire, series that must not, and alerts that fire with it."""

    at: str
    bad: Series
    good: list[Series]
    also: tuple[str, ...] = ()


UP, PREDICTIONS, DRIFT = (
    'up{job="server"}',
    'predictions_total{label="a"}',
    'drift_score{signal="%s"}',
)
FAILED, BY_CLIENT = 'refusals_total{status="500"}', 'refusals_total{status="422"}'
QUALITY, TRAINED = "labelled_quality_at_most", "model_trained_timestamp_seconds"
TIMED = 'prediction_latency_seconds_count{job="server"}'
IN_TIME = 'prediction_latency_seconds_bucket{job="server",le="0.05"}'
LAST = "prediction_last_timestamp_seconds"
SHARE, SLOWER = 'challenger_share_ratio{release="b"}', IN_TIME.replace("0.05", "0.099")
TASK_UP, TASK_FAILURES = (
    'background_task_up{task="journal"}',
    'background_failures_total{task="journal"}',
)
MISMATCH, WRITES = 'rollout_mismatch{job="server"}', 'journal_failed_writes_total{job="server"}'
BUCKET = 'promised_latency_bucket{job="server",le="%s"}'


def instance(name: str, le: str, timed: str, in_time: str = "") -> Series:
    """The latency metrics of one server."""
    labels = f'job="server",instance="{name}"'
    shown = re.sub(r"\d+\+\d+x", "1+0x", timed)
    return {
        f"prediction_latency_seconds_count{{{labels}}}": timed,
        f'prediction_latency_seconds_bucket{{{labels},le="{le}"}}': in_time or timed,
        f'promised_latency_bucket{{{labels},le="{le}"}}': shown,
    }


NO_TRAFFIC = {PREDICTIONS: steady(0), LAST: steady(0), TIMED: steady(0), IN_TIME: steady(0)}
RESTARTED = f"0+1000x100 0+1000x{LONG}"  # counters start at 0 after a restart
GAP = f"0+1000x100 _x20 121000+1000x{LONG}"  # no scrapes for a while
STEADY_BUT = [
    {PREDICTIONS: RESTARTED, TIMED: RESTARTED, IN_TIME: RESTARTED},
    {PREDICTIONS: GAP, TIMED: GAP, IN_TIME: GAP, FAILED: f"0+0x100 _x20 0+0x{LONG}"},
    {BY_CLIENT: rising(1000)},
]
LIMITS, PRICE = "scope_limit", 'price_usd_month{job="server", place="%s"}'
GONE = "_x20"
DEVICE, STALE_S, DISK = '{device="a"}', 30 * 86400, 100 * 10**6  # defaults of scope.yaml
DEVICE_DRIFT = f"device_drift_score_max{DEVICE}"
HEALTHY: dict[str, Series] = {
    "server": {
        UP: steady(1),
        PREDICTIONS: rising(1000),
        LAST: rising(60),
        FAILED: steady(0),
        TIMED: rising(1000),
        IN_TIME: rising(1000),
        SLOWER: rising(1000),
        DRIFT % "brightness": steady(1),
        DRIFT % "label": steady(1),
        QUALITY: steady(0.9),
        TRAINED: steady(0),
        SHARE: steady(0.01),
        TASK_UP: steady(1),
        TASK_FAILURES: steady(0),
        MISMATCH: steady(0),
        WRITES: steady(0),
    },
    "fleet": {
        'up{job="collector"}': steady(1),
        f"device_last_seen_timestamp_seconds{DEVICE}": rising(60),
        f"device_outbox_dropped{DEVICE}": steady(32),
        f"device_model_current_timestamp_seconds{DEVICE}": steady(1200 - STALE_S),
        DEVICE_DRIFT: steady(1),
        f"device_latency_p95_ms{DEVICE}": steady(50),
        f"device_disk_free_bytes{DEVICE}": steady(DISK),
        f"device_faults{DEVICE}": steady(0),
        'collector_faults_total{job="collector"}': steady(0),
    },
}
CASES: dict[str, dict[str, Case]] = {
    "server": {
        "AvailabilityBudgetBurn page": Case(
            "150m",
            {FAILED: rising(200)},
            [*STEADY_BUT, {FAILED: rising(0.9)}, {FAILED: f"0+0x100 100+0x{LONG}"}],
            ("AvailabilityBudgetBurn ticket",),
        ),
        "AvailabilityBudgetBurn ticket": Case(
            "480m",
            {FAILED: rising(5)},
            [*STEADY_BUT, {FAILED: rising(0.9)}],
        ),
        "LatencyBudgetBurn page": Case(
            "150m",
            {IN_TIME: rising(100)},
            [*STEADY_BUT, {IN_TIME: rising(951)}],
            ("LatencyBudgetBurn ticket",),
        ),
        "LatencyBudgetBurn ticket": Case(
            "480m",
            {IN_TIME: rising(840)},
            [*STEADY_BUT, {IN_TIME: rising(951)}],
        ),
        "InputDrift ticket": Case(
            "10m",
            {DRIFT % "brightness": steady(1.01)},
            [{DRIFT % "brightness": then((1, 3), (9, 4), (1, 9))}, {DRIFT % "mean": "NaN+0x20"}],
        ),
        "PredictionDrift ticket": Case(
            "10m",
            {DRIFT % "entropy": steady(1.01)},
            [{DRIFT % "label": then((1, 3), (9, 4), (1, 9))}, {DRIFT % "label": "NaN+0x20"}],
        ),
        "QualityBelowPromise ticket": Case(
            "10m", {QUALITY: steady(0.899)}, [{QUALITY: "NaN+0x20"}]
        ),
        "ModelStale ticket": Case(
            "10m",
            {TRAINED: steady(-90 * 86400)},
            [{TRAINED: steady(1200 - 90 * 86400)}],
        ),
        "NoPredictions ticket": Case(
            "80m",
            {LAST: f"0+60x10 600+0x{LONG}"},
            [
                {LAST: then((0, 50), (3000, LONG))},  # a prediction within the hour
                {LAST: then((3000, 51), (0, LONG))},  # a prediction, then a restart
                {LAST: f"0+0x50 _x20 3000+0x{LONG}"},
                {LAST: steady(0), UP: f"_x30 1+0x{LONG}"},  # watched for less than an hour
            ],
        ),
        "ServerDown page": Case("10m", {UP: then((1, 5), (0, 9))}, [{UP: "1 1 1 1 0 0 1+0x9"}]),
        "CostOverBudget ticket": Case(
            "70m",
            servers(6, steady(1)),
            [servers(5, steady(1)), servers(20, f"1+0x40 _x{LONG}")],
        ),
        "LimitsMissing ticket": Case(
            "10m",
            {PRICE % "server": GONE, PRICE % "device": GONE},
            [{PRICE % place: f"_x4 1+0x{LONG}" for place in ("server", "device")}],
        ),
        "BackgroundTaskFailed ticket": Case(
            "10m",
            {TASK_UP: steady(0)},
            [{TASK_UP: steady(1)}, {TASK_FAILURES: steady(3)}],
        ),
        "RolloutMismatch ticket": Case(
            "10m", {MISMATCH: steady(1)}, [{MISMATCH: "0 0 1+0x3 0+0x9"}]
        ),
        "JournalFailing ticket": Case("10m", {WRITES: "0 0 0 0 0 1+0x9"}, [{WRITES: steady(3)}]),
        "ChallengerHalted ticket": Case("10m", {SHARE: then((1, 5), (0, 9))}, [{SHARE: "_x20"}]),
        "RetrainDue ticket": Case(
            "262m",
            {DRIFT % "brightness": then((2, 100), (1, 60), (2, 200))},
            [
                {DRIFT % "brightness": then((2, 150), (1, 200))},
                {DRIFT % "brightness": then(*[(2, 15), (1, 15)] * 10)},
                {SHARE: steady(0.5), UP: then((1, 3), (0, 1), (1, LONG))},
            ],
            ("InputDrift ticket",),
        ),
    },
    "fleet": {
        "CollectorDown page": Case(
            "15m",
            {'up{job="collector"}': "1 0+0x20"},
            [
                {'up{job="collector"}': "1 1 0 0 0 1+0x20"},
                {'up{job="collector"}': "1+0x11 0+0x20"},  # for 4 minutes
            ],
        ),
        "LimitsMissing ticket": Case("10m", {LIMITS: GONE}, [{LIMITS: "_x4 {0}+0x20"}]),
        "DeviceSilent page": Case(
            "6m", {f"device_last_seen_timestamp_seconds{DEVICE}": steady(0)}, [{}]
        ),
        "DeviceDroppedDecisions page": Case(
            "10m",
            {f"device_outbox_dropped{DEVICE}": "0 0 32+0x20"},
            [{f"device_outbox_dropped{DEVICE}": "32+0x20"}],
        ),
        "DeviceStale ticket": Case(
            "10m", {f"device_model_current_timestamp_seconds{DEVICE}": steady(-STALE_S)}, [{}]
        ),
        "DeviceDrifting ticket": Case("10m", {DEVICE_DRIFT: steady(1.01)}, [{}]),
        "DeviceSlow ticket": Case(
            "10m",
            {f"device_latency_p95_ms{DEVICE}": steady(50.5)},
            [{f"device_latency_p95_ms{DEVICE}": "50 99 99 50+0x20"}],
        ),
        "DeviceFaults ticket": Case("10m", {f"device_faults{DEVICE}": "0 0 1+0x20"}, [{}]),
        "CollectorFaults ticket": Case(
            "10m", {'collector_faults_total{job="collector"}': "0 0 1+0x20"}, [{}]
        ),
        "DeviceDiskFull ticket": Case(
            "10m", {f"device_disk_free_bytes{DEVICE}": steady(DISK - 1)}, [{}]
        ),
        "RetrainDue ticket": Case(
            "262m",
            {
                DEVICE_DRIFT: then((2, 100), (1, 60), (2, 200)),
                f"device_model_current_timestamp_seconds{DEVICE}": steady(0),
            },
            [
                {
                    DEVICE_DRIFT: then((2, 150), (1, 200)),
                    f"device_model_current_timestamp_seconds{DEVICE}": steady(0),
                }
            ],
            ("DeviceDrifting ticket",),
        ),
    },
}
ALL = [(kind, name) for kind, cases in CASES.items() for name in cases]
# Further situations, and the alerts that fire.
MORE: list[tuple[str, Series, list[str]]] = [
    ("no requests at all", NO_TRAFFIC, ["NoPredictions ticket"]),
    (
        "no requests at all, to servers that restart every 20 minutes",
        NO_TRAFFIC | {LAST: " ".join(["0+0x18 stale"] * 20), UP: " ".join(["1+0x18 0"] * 20)},
        ["NoPredictions ticket"],
    ),
    (
        "failures of a server that restarts every other minute",
        {FAILED: rising(200), LIMITS: " ".join(["{0} stale"] * 300)},
        ["AvailabilityBudgetBurn page", "AvailabilityBudgetBurn ticket"],
    ),
    ("a server that exports no limits", {LIMITS: GONE}, ["LimitsMissing ticket"]),
    (
        "the stricter of two limits applies during a rollout",
        {'scope_limit{job="server",key="min_metric",instance="b"}': steady(0.95)}
        | {'scope_limit{job="server",key="max_drift_score",instance="b"}': steady(0.5)},
        ["InputDrift ticket", "PredictionDrift ticket", "QualityBelowPromise ticket"]
        + ["RetrainDue ticket"],
    ),
    (
        "a limit that was stricter for an hour",
        {'scope_limit{job="server",key="min_metric",instance="b"}': f"0.95+0x60 _x{LONG}"},
        [],
    ),
    (
        "fast predictions of a stopped server and of its successor",
        {TIMED: GONE, IN_TIME: GONE, SLOWER: GONE, BUCKET % "0.05": GONE}
        | instance("a", "0.05", f"0+1000x200 _x{LONG}")
        | instance("b", "0.05", f"_x200 0+1000x{LONG}"),
        [],
    ),
    (
        "slow predictions of a stopped server and of its successor",
        {TIMED: GONE, IN_TIME: GONE, SLOWER: GONE, BUCKET % "0.05": GONE}
        | instance("a", "0.05", f"0+1000x200 _x{LONG}", f"0+100x200 _x{LONG}")
        | instance("b", "0.05", f"_x200 0+1000x{LONG}", f"_x200 0+100x{LONG}"),
        ["LatencyBudgetBurn page", "LatencyBudgetBurn ticket"],
    ),
    (
        "slow predictions after the limit was loosened",
        {BUCKET % "0.05": f"1+0x150 stale _x{LONG}", BUCKET % "0.099": f"_x151 1+0x{LONG}"}
        | {SLOWER: f"_x151 0+100x{LONG}", IN_TIME: f"0+1000x150 0+0x{LONG}"}
        | {TIMED: f"0+1000x150 0+1000x{LONG}"},
        ["LatencyBudgetBurn page", "LatencyBudgetBurn ticket"],
    ),
    (
        "a budget that lasts for weeks is only a ticket",
        {FAILED: rising(5.9), IN_TIME: rising(710)},
        ["AvailabilityBudgetBurn ticket", "LatencyBudgetBurn ticket"],
    ),
    (
        "every request failed, so that predictions_total has no series",
        {FAILED: rising(9), PREDICTIONS: "_x20", TIMED: steady(0), IN_TIME: steady(0)},
        ["AvailabilityBudgetBurn page", "AvailabilityBudgetBurn ticket"],
    ),
    (
        "failures of a server that was restarted",
        {FAILED: f"0+200x100 0+200x{LONG}", PREDICTIONS: RESTARTED},
        ["AvailabilityBudgetBurn page", "AvailabilityBudgetBurn ticket"],
    ),
    (
        "a task that failed and was started again",
        {TASK_FAILURES: f"0+0x245 1+0x{LONG}"},
        ["BackgroundTaskFailed ticket"],
    ),
    (
        "a damaged journal",
        {'journal_damaged_total{job="server"}': f"0+0x245 1+0x{LONG}"},
        ["JournalFailing ticket"],
    ),
    ("Prometheus has no server to scrape", {UP: "_x20"}, ["ServerDown page"]),
    (
        "hours of different alerts add up",
        {DRIFT % "label": then((2, 100), (1, LONG)), QUALITY: then((1, 100), (0.5, LONG))},
        ["QualityBelowPromise ticket", "RetrainDue ticket"],
    ),
]


@pytest.fixture(scope="module")
def folders(render: Render) -> dict[str, Path]:
    return {
        "fleet": render(modality="tabular", target="edge"),
        "server": render(modality="tabular", target="cloud"),
    }


@pytest.fixture
def repo(folders: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the render that a test can change."""
    shutil.copytree(folders[request.param], tmp_path / "repo")
    return tmp_path / "repo"


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    shutil.copytree(folders["fleet"], tmp_path / "repo")
    settings(tmp_path / "repo", "outbox_mb: 8", "outbox_mb: 1")
    return tmp_path / "repo"


def set_limits(folder: Path, **numbers: float) -> None:
    """Change numbers in scope.yaml."""
    scope = folder / "scope.yaml"
    for key, number in numbers.items():
        text, count = re.subn(rf"(?m)^( *{key}: )[^ \n]*", rf"\g<1>{number}", scope.read_text())
        assert count == 1
        scope.write_text(text)


SHOW = """
from prometheus_client import CollectorRegistry, generate_latest
from scratch_detector.monitoring.scope_limits import show_limits
registry = CollectorRegistry()
show_limits(registry)
print(generate_latest(registry).decode())
"""


def limits(folder: Path, kind: str) -> Series:
    """Return the series that `show_limits` of a render exports, with the labels of a job."""
    return _limits(folder, (folder / "scope.yaml").read_text(), kind)


@cache
def _limits(folder: Path, scope: str, kind: str) -> Series:
    job = {"server": "server", "fleet": "collector"}[kind]
    shown = done(run_in(folder, "python", "-c", SHOW))
    return {
        f'{name}{{job="{job}", {labels}}}': value
        for name, labels, value in re.findall(r"(?m)^(\w+)\{(.+)\} (\S+)$", shown)
    }


def rules(folder: Path, kind: str) -> dict[str, list[Any]]:
    """Return the rules, by alert and severity."""
    groups = yaml.safe_load((folder / f"deploy/alerts/{kind}.yml").read_text())["groups"]
    by_name: dict[str, list[Any]] = {}
    for rule in (rule for group in groups for rule in group["rules"] if "alert" in rule):
        by_name.setdefault(f"{rule['alert']} {rule['labels']['severity']}", []).append(rule)
    return by_name


def run_promtool(
    folder: Path,
    kind: str,
    at: str,
    situations: list[tuple[Series, list[str]]],
    alerts: str = ".+",
) -> subprocess.CompletedProcess[str]:
    """Test with promtool that exactly these of the `alerts` fire in these situations."""
    selector = f'ALERTS{{alertstate="firing", alertname=~"{alerts}"}}'
    firing = f"group by (alertname, severity) ({selector})"
    tests = []
    for series, names in situations:
        expected = [
            {"labels": '{{alertname="{}", severity="{}"}}'.format(*name.split()), "value": 1}
            for name in names
        ]
        shown = limits(folder, kind)
        for name, value in shown.items():
            every = series.get(name.partition("{")[0], f"{{0}}+0x{LONG}")
            shown = shown | {name: every.format(value)}
        there = HEALTHY[kind] | shown | {n: v for n, v in series.items() if n != LIMITS}
        inputs = [{"series": name, "values": values} for name, values in there.items()]
        test = {"expr": firing, "eval_time": at, "exp_samples": expected}
        tests += [{"interval": "1m", "input_series": inputs, "promql_expr_test": [test]}]
    paths = [str(path) for path in (folder / "deploy/alerts").glob("*.yml")]
    content = {"rule_files": paths, "evaluation_interval": "1m", "tests": tests}
    with TemporaryDirectory() as name:
        file = Path(name) / "rules_test.yml"
        file.write_text(yaml.safe_dump(content))
        command = [tool("promtool"), "test", "rules", str(file)]
        return subprocess.run(command, capture_output=True, text=True)


def test_rules_and_settings_are_valid(render: Render) -> None:
    for target, kinds in (("cloud", 1), ("edge", 1), ("hybrid", 2)):
        folder = render(modality="tabular", target=target)
        checked = done(run([tool("promtool"), "check", "config", "deploy/prometheus.yml"], folder))
        assert f"{kinds} rule files found" in checked


@pytest.mark.parametrize("sink", OPTIONS["alert_sink"])
def test_pages_and_tickets_go_to_different_receivers(sink: str, render: Render) -> None:
    folder = render(modality="tabular", target="hybrid", alert_sink=sink)
    check = [tool("amtool"), "check-config", "deploy/alertmanager.yml"]
    assert "2 receivers" in done(run(check, folder))
    for labels in (["severity=page"], ["severity=ticket"]):
        ask = [tool("amtool"), "config", "routes", "test", "--config.file=deploy/alertmanager.yml"]
        (kind,) = [label.split("=")[1] for label in labels]
        assert done(run([*ask, *labels], folder)) == f"{kind}s\n"
    content = yaml.safe_load((folder / "deploy/alertmanager.yml").read_text())
    for receiver in content["receivers"]:
        assert [config["send_resolved"] for config in receiver[f"{sink}_configs"]] == [True]
    secrets = re.findall(r"[\w_]+_(?:file|key|url|password): \S+", yaml.safe_dump(content))
    assert bool(secrets) == (sink != "webhook")
    assert all("_file: /etc/alertmanager/secrets/" in secret for secret in secrets)


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("kind", CASES)
def test_every_alert_has_a_case(folders: dict[str, Path], kind: str) -> None:
    assert rules(folders[kind], kind).keys() == CASES[kind].keys()


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_an_alert_fires_only_in_its_case(folders: dict[str, Path], kind: str, name: str) -> None:
    case = CASES[kind][name]
    silent: list[tuple[Series, list[str]]] = [(series, []) for series in case.good]
    assert silent
    done(run_promtool(folders[kind], kind, case.at, [(case.bad, [name, *case.also]), *silent]))


@pytest.mark.parametrize(("series", "names"), [more[1:] for more in MORE], ids=[m[0] for m in MORE])
def test_alerts_in_further_situations(
    folders: dict[str, Path], series: Series, names: list[str]
) -> None:
    done(run_promtool(folders["server"], "server", "250m", [(series, names)]))


REPORT = {"device": "a", "version": "1", "disk_free_bytes": 1, "outbox_depth": 0}
REPORT |= {"outbox_dropped": 0, "model_sha256": "0" * 64, "latency_p95_ms": 1, "drift_score_max": 0}
REPORT |= {"model_current_timestamp_seconds": 1}


def test_rules_about_devices_read_only_exported_metrics(folder: Path) -> None:
    """The render's own test_server_alerts.py checks the rules about servers."""
    server, port = collector(folder)
    body = json.dumps(REPORT).encode()
    try:
        with urlopen(Request(f"http://127.0.0.1:{port}/events", body), timeout=30) as response:
            assert response.status == 200
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
            exported = set(re.findall(r"(?m)^(\w+)[ {]", response.read().decode()))
            exported |= {"up", "ALERTS"}
    finally:
        end(server)
    exprs = [rule["expr"] for same in rules(folder, "fleet").values() for rule in same]
    recorded = re.findall(r"record: (\S+)", (folder / "deploy/alerts/fleet.yml").read_text())
    names = {name for expr in exprs for name in names_in(expr)} - {*recorded}
    assert names <= exported and "device_info" in exported
    assert not names_in("device_last_sen_timestamp_seconds > 1") <= exported


def names_in(expr: str) -> set[str]:
    """Return the names of the metrics in an expression."""
    nodes: list[Any] = []
    promql_parser.walk(promql_parser.parse(expr), nodes.append)
    return {node.name for node in nodes if isinstance(node, promql_parser.VectorSelector)}


def test_the_cost_includes_devices(render: Render) -> None:
    folder = render(modality="tabular", target="hybrid")
    devices = {f'device_info{{device="{i}"}}': steady(1) for i in range(34)}  # and one server
    few = dict(list(devices.items())[:33])
    situations = [(devices, ["CostOverBudget ticket"]), (few, list[str]())]
    done(run_promtool(folder, "server", "70m", situations, "CostOverBudget"))


def both(name: str) -> list[str]:
    return [f"{name} page", f"{name} ticket"]


def read_by(folder: Path, kind: str, key: str) -> set[str]:
    """Return the alerts that read a limit, directly or through a recording rule."""
    text = (folder / f"deploy/alerts/{kind}.yml").read_text()
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    marks = {f'key="{key}"'}
    if (kind, key) == ("server", "max_latency_p95_ms"):
        marks.add("promised_latency_bucket")

    def reads(rule: dict[str, Any]) -> bool:
        return any(mark in rule["expr"] for mark in marks)

    while more := {r["record"] for r in rules if "record" in r and reads(r)} - marks:
        marks |= more
    return {f"{r['alert']} {r['labels']['severity']}" for r in rules if "alert" in r and reads(r)}


TURNED_OFF: dict[str, dict[str, tuple[float, list[str]]]] = {
    "fleet": {
        "max_silence_s": (10**5, ["CollectorDown page", "DeviceSilent page"]),
        "max_staleness_days": (90, ["DeviceStale ticket"]),
        "max_latency_p95_ms": (99, ["DeviceSlow ticket"]),
        "min_disk_free_mb": (1, ["DeviceDiskFull ticket"]),
        "max_drift_score": (10**6, ["DeviceDrifting ticket", "RetrainDue ticket"]),
        "retrain_after_h": (6, ["RetrainDue ticket"]),
        "retrain_of_h": (3, ["RetrainDue ticket"]),
    },
    "server": {
        "min_availability": (0.94, both("AvailabilityBudgetBurn")),
        "max_latency_p95_ms": (99, both("LatencyBudgetBurn")),
        "min_metric": (0.01, ["QualityBelowPromise ticket"]),
        "max_cost_usd_month": (10**6, ["CostOverBudget ticket"]),
        "max_drift_score": (
            10**6,
            ["InputDrift ticket", "PredictionDrift ticket", "RetrainDue ticket"],
        ),
        "max_model_age_days": (10**5, ["ModelStale ticket"]),
        "max_idle_s": (10**5, ["NoPredictions ticket"]),
        "retrain_after_h": (6, ["RetrainDue ticket"]),
        "retrain_of_h": (3, ["RetrainDue ticket"]),
    },
}
TURNS = [(kind, kind, key) for kind, keys in TURNED_OFF.items() for key in keys]


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize(("repo", "kind", "key"), TURNS, indirect=["repo"])
def test_each_limit_controls_its_own_alerts_only(
    repo: Path, kind: str, key: str, every: bool
) -> None:
    """A limit that is never exceeded silences its alerts, and no others."""
    number, names = TURNED_OFF[kind][key]
    follows = {"RetrainDue ticket"} if key == "max_drift_score" else set[str]()
    assert read_by(repo, kind, key) == set(names) - follows
    set_limits(repo, **{key: number})
    for name in CASES[kind] if every else names:
        case = CASES[kind][name]
        result = run_promtool(repo, kind, case.at, [(case.bad, [name, *case.also])])
        is_off = result.returncode == 1 and "FAILED" in result.stdout + result.stderr
        assert is_off == (name in names), name
        if not is_off:
            done(result)


def test_every_limit_with_an_alert_is_tested(folders: dict[str, Path]) -> None:
    limits = {"fleet": set(), "server": {"min_availability", "min_metric", "max_cost_usd_month"}}
    for kind, folder in folders.items():
        scope = yaml.safe_load((folder / "scope.yaml").read_text())
        watched = scope["watch"].keys() | scope.get("fleet", {}).keys()
        assert TURNED_OFF[kind].keys() == watched | limits[kind] | {"max_latency_p95_ms"}


@pytest.mark.parametrize("repo", ["server"], indirect=True)
@pytest.mark.parametrize(
    ("key", "number", "message"),
    [
        ("min_availability", 0.93, "min_availability: got 0.93; above 0.9306 and below 1"),
        ("min_availability", 1, "min_availability: got 1; above 0.9306 and below 1"),
        ("retrain_after_h", 7, "watch.retrain_after_h: got 7; at most retrain_of_h, which is 6"),
        ("retrain_of_h", 2, "watch.retrain_after_h: got 3; at most retrain_of_h, which is 2"),
        ("retrain_of_h", 169, "watch.retrain_of_h: got 169; at most 168, which is a week"),
        ("max_idle_s", 604801, "watch.max_idle_s: got 604801; at most 604800, which is a week"),
    ],
)
def test_rejects_limits_whose_alert_could_never_fire(
    repo: Path, key: str, number: float, message: str
) -> None:
    set_limits(repo, **{key: number})
    with pytest.raises(AssertionError, match=re.escape(f"scope.yaml is not valid:\n  {message}")):
        limits(repo, "server")


PARTS = ("What it means", "First look", "First action", "Rollback", "Who decides")


def runbook_sections(folder: Path) -> dict[str, str]:
    """Return the text under each heading of the runbook, by its link."""
    sections: dict[str, str] = {}
    for page in ("docs/runbook.md", "docs/runbook/server.md", "docs/runbook/devices.md"):
        if (folder / page).exists():
            parts = re.split(r"(?m)^## (.+)$", (folder / page).read_text())[1:]
            anchors = [heading.lower().replace(" ", "-") for heading in parts[::2]]
            sections |= {f"{page}#{a}": s for a, s in zip(anchors, parts[1::2], strict=True)}
    return sections


@pytest.mark.parametrize("kind", CASES)
def test_each_alert_links_to_a_complete_runbook_entry(folders: dict[str, Path], kind: str) -> None:
    sections = runbook_sections(folders[kind])
    for name, same in rules(folders[kind], kind).items():
        for rule in same:
            section = sections[rule["annotations"]["runbook"]]
            parts = [part for part in PARTS if f"**{part}.**" in section]
            assert parts == [*PARTS], f"{name}: {rule['annotations']['runbook']}"


def test_each_alert_about_a_server_has_its_own_heading(folders: dict[str, Path]) -> None:
    links = {
        name.split()[0]: rule["annotations"]["runbook"]
        for name, same in rules(folders["server"], "server").items()
        for rule in same
    }
    here = "docs/runbook/server.md#"
    own = {name for name, link in links.items() if link.startswith(here)}
    assert own == links.keys() - {"LimitsMissing", "RetrainDue"}  # shared with other alert files
    assert all(links[name] == here + name.lower() for name in own)


@pytest.fixture
def watched(folder: Path) -> Iterator[tuple[Any, int, Watch]]:
    """A collector, its port, and a Prometheus that scrapes it every second."""
    set_limits(folder, max_silence_s=61)
    server, port = collector(folder)
    config = yaml.safe_load((folder / "deploy/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{port}"]
    (folder / "deploy/prometheus.yml").write_text(yaml.safe_dump(config))
    web = free_port()
    command = [tool("prometheus"), "--config.file=deploy/prometheus.yml"]
    command += ["--storage.tsdb.path=tsdb", f"--web.listen-address=127.0.0.1:{web}"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    yield server, port, Watch(web)
    end(process)
    end(server)


@pytest.mark.long
def test_prometheus_notices_a_device_that_was_killed(
    folder: Path, watched: tuple[Any, int, Watch]
) -> None:
    _, port, watch = watched
    firing = 'ALERTS{alertname="DeviceSilent", alertstate="firing"}'
    settings(folder, 'upload_url: ""', f"upload_url: http://127.0.0.1:{port}/events")
    settings(folder, 'device: ""', "device: line-1")
    sender = device(folder, 10**6, PAUSE_S="0.2")
    until(lambda: watch.query('device_info{device="line-1"}'))
    assert watch.query(firing) == []
    end(sender)
    until(lambda: watch.query(firing), timeout_s=120)
    assert watch.query(firing)[0]["metric"]["device"] == "line-1"
    got = len(delivered(folder))
    sender = device(folder, 10**6, PAUSE_S="0.2")
    until(lambda: not watch.query(firing) and len(delivered(folder)) > got)
    end(sender)


FAULTS = """
import asyncio
from pathlib import Path
from scratch_detector.serving import batching
original = batching.DynamicBatcher.predict
async def predict(self, *given):
    if Path("slow").exists():
        await asyncio.sleep(1.5)
    if Path("broken").exists():
        raise RuntimeError("planted")
    return await original(self, *given)
batching.DynamicBatcher.predict = predict
"""
ROWS = """
import json
from scratch_detector import examples
from scratch_detector.artifacts import RAW
test = [e.payload.decode() for e in examples.read_shards(RAW) if examples.split_of(e.id) == "test"]
print(json.dumps(test))
"""


class Traffic:
    """Four clients that send the current rows without pause."""

    def __init__(self, server: Server, rows: list[bytes]) -> None:
        self.server, self.rows = server, rows
        self._over = threading.Event()
        self._clients = [threading.Thread(target=self._run, args=(k,)) for k in range(4)]

    def __enter__(self) -> "Traffic":
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for client in self._clients:
            client.join()

    def _run(self, at: int) -> None:
        while not self._over.wait(0.02):
            with contextlib.suppress(OSError, http.client.HTTPException):  # while it is down
                self.server.ask(body=self.rows[at % len(self.rows)])
            at += 4


class Live(NamedTuple):
    """A monitored project under traffic."""

    folder: Path
    port: int
    rows: list[bytes]

    def drifting(self) -> list[bytes]:
        """The same requests from one kind of merchant, which does not affect the label."""
        rows = [json.loads(row) | {"merchant": "games"} for row in self.rows]
        return [json.dumps(row).encode() for row in rows]

    def serve(self) -> AbstractContextManager[Server]:
        log = self.folder / "server.log"
        return serving(self.folder, FAULTS, command="serve", log=log, port=self.port)


@pytest.fixture
def live(modelled: Path, tmp_path: Path) -> Live:
    """A released project with a latency limit that a busy machine can meet."""
    folder = tmp_path / "live"
    shutil.copytree(modelled, folder, symlinks=True)
    command(folder, "example")
    set_limits(folder, max_latency_p95_ms=1000)
    set_values(folder, "params.yaml", labelled_window=20)
    release(folder)
    rows = json.loads(done(run_in(folder, "python", "-c", ROWS)))
    return Live(folder, free_port(), [row.encode() for row in rows])


def wait_until_healthy(watch: Watch) -> None:
    """Wait until all windows are full of normal traffic, without any alert."""
    until(lambda: watch.query("drift_window_fill_ratio == 1"))
    until(lambda: watch.query("min_over_time(sum(rate(predictions_total[2s]))[16s:1s]) > 0"))
    assert watch.query('ALERTS{alertstate="firing"}') == [] == watch.delivered


def expect_alerts(watch: Watch, names: set[str], to: str, undo: Callable[[], object]) -> None:
    """Wait until exactly these alerts were delivered, undo the cause, wait until they resolve."""
    watch.delivered.clear()

    def was_delivered(status: str) -> bool:
        return all((to, name, status) in watch.delivered for name in names)

    until(lambda: was_delivered("firing"), timeout_s=120)
    undo()
    until(
        lambda: was_delivered("resolved") and not watch.query("ALERTS") and not watch.firing(),
        timeout_s=120,
    )
    assert {name for _, name, _ in watch.delivered} == names


def test_drift_is_delivered_and_triggers_retraining(live: Live, tmp_path: Path) -> None:
    with (
        live.serve() as server,
        Traffic(server, live.rows) as traffic,
        watching(live.folder, tmp_path / "watch", live.port) as watch,
    ):
        wait_until_healthy(watch)
        traffic.rows = live.drifting()
        undo = partial(setattr, traffic, "rows", live.rows)
        expect_alerts(watch, {"InputDrift", "RetrainDue"}, "tickets", undo)


@pytest.mark.long
def test_each_fault_is_delivered_and_resolved(live: Live, tmp_path: Path) -> None:
    old = release(live.folder, "old")
    slow, broken = live.folder / "slow", live.folder / "broken"
    rollout = live.folder / "releases/rollout.json"
    first = json.loads(rollout.read_text())["champion"]

    def send_labels(server: Server, right: bool) -> None:
        for i in range(20):
            label = server.ask(x_request_id=f"r-{i}").json["label"]
            wrong = {"fraud": "legitimate", "legitimate": "fraud"}[label]
            assert feedback(server, f"r-{i}", label if right else wrong)[0] == 200

    with ExitStack() as stack:
        server = stack.enter_context(live.serve())
        stack.enter_context(Traffic(server, live.rows))
        # Keep hours as hours, so that RetrainDue stays silent: the previous test covers it.
        watch = stack.enter_context(
            watching(live.folder, tmp_path / "watch", live.port, hours=False)
        )
        wait_until_healthy(watch)
        slow.touch()
        expect_alerts(watch, {"LatencyBudgetBurn"}, "pages", slow.unlink)
        broken.touch()
        expect_alerts(watch, {"AvailabilityBudgetBurn"}, "pages", broken.unlink)
        send_labels(server, right=False)
        expect_alerts(
            watch, {"QualityBelowPromise"}, "tickets", lambda: send_labels(server, right=True)
        )
        roll_out(live.folder, champion=old, previous=first)
        expect_alerts(watch, {"ModelStale"}, "tickets", lambda: command(live.folder, "rollback"))
        server.process.kill()
        server.process.wait()
        again = partial(stack.enter_context, live.serve())
        expect_alerts(watch, {"ServerDown"}, "pages", again)
