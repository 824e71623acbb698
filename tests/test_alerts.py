"""Alerts about devices: each fires where it should and stays silent where not, by Prometheus' own
tools; and a real Prometheus notices a device that was killed."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import yaml

from conftest import Render
from containers import free_port
from environment import environment, requirements, variables
from test_outbox import collector, delivered, device, end, settings, until

RULES = "deploy/fleet-alerts.yml"
DEVICE = '{device="a"}'
STALE_S, DISK = 30 * 86400, 100 * 10**6  # of the scope that is rendered
# By alert: a series, its values every minute that must fire and those that must not, and when.
CASES: dict[str, tuple[str, str, str, str]] = {
    "CollectorDown": ('up{job="collector"}', "1 0+0x20", "1 1 0 0 0 1+0x20", "15m"),
    "DeviceSilent": (f"device_last_seen_timestamp_seconds{DEVICE}", "0+0x20", "0+60x20", "6m"),
    "DeviceDroppedDecisions": (f"device_outbox_dropped{DEVICE}", "0 0 32+0x20", "32+0x20", "10m"),
    "DeviceStale": (
        f"device_model_current_timestamp_seconds{DEVICE}",
        f"-{STALE_S}+0x20",
        f"{1200 - STALE_S}+0x20",
        "10m",
    ),
    "DeviceDrifting": (f"device_drift_score_max{DEVICE}", "1.01+0x20", "1+0x20", "10m"),
    "DeviceSlow": (f"device_latency_p95_ms{DEVICE}", "50.5+0x20", "50 99 99 50+0x20", "10m"),
    "DeviceDiskFull": (
        f"device_disk_free_bytes{DEVICE}",
        f"{DISK - 1}+0x20",
        f"{DISK}+0x20",
        "10m",
    ),
}


@pytest.fixture
def folder(render: Render, tmp_path: Path) -> Path:
    shutil.copytree(render(modality="tabular", target="edge"), tmp_path / "repo")
    settings(tmp_path / "repo", "outbox_mb: 8", "outbox_mb: 1")
    return tmp_path / "repo"


def tool(name: str) -> str:
    if not (found := shutil.which(name)):
        pytest.skip(f"NOT TESTED: alerts, without {name} of Debian's prometheus")
    return found


def promise(folder: Path, **numbers: float) -> None:
    """Write other numbers into scope.yaml, then the rules anew."""
    scope = folder / "scope.yaml"
    for key, number in numbers.items():
        text, found = re.subn(rf"(?m)^( *{key}: ).*", rf"\g<1>{number}", scope.read_text())
        assert found == 1
        scope.write_text(text)
    place = environment(requirements(folder))
    make = [str(place / "bin/python"), "-m", "scratch_detector", "alerts"]
    subprocess.run(make, cwd=folder, env=variables(folder, place), check=True, capture_output=True)


def rules(folder: Path) -> dict[str, Any]:
    (group,) = yaml.safe_load((folder / RULES).read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def judged(folder: Path, name: str, fires: bool) -> subprocess.CompletedProcess[str]:
    """Let promtool say whether an alert fires, or stays silent, on its series."""
    series, bad, good, at = CASES[name]
    count = f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)'
    expected = {"expr": count, "eval_time": at}
    case = {
        "interval": "1m",
        "input_series": [{"series": series, "values": bad if fires else good}],
        "promql_expr_test": [expected | {"exp_samples": [{"labels": "{}", "value": int(fires)}]}],
    }
    tests = {"rule_files": [str(folder / RULES)], "evaluation_interval": "1m", "tests": [case]}
    (folder / "rules_test.yml").write_text(yaml.safe_dump(tests))
    command = [tool("promtool"), "test", "rules", str(folder / "rules_test.yml")]
    return subprocess.run(command, capture_output=True, text=True)


def test_rules_and_settings_are_valid(render: Render) -> None:
    for target in ("edge", "hybrid"):
        folder = render(modality="tabular", target=target)
        command = [tool("promtool"), "check", "config", str(folder / "deploy/prometheus.yml")]
        checked = subprocess.run(command, capture_output=True, text=True)
        assert checked.returncode == 0 and f"{len(CASES)} rules found" in checked.stdout


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_and_stays_silent(folder: Path, name: str) -> None:
    assert rules(folder).keys() == CASES.keys()
    for fires in (True, False):
        result = judged(folder, name, fires)
        assert result.returncode == 0, result.stdout + result.stderr


TURNED_OFF = {
    "max_silence_s": (10**6, ["CollectorDown", "DeviceSilent"]),
    "max_staleness_days": (90, ["DeviceStale"]),
    "max_latency_p95_ms": (99, ["DeviceSlow"]),
    "min_disk_free_mb": (1, ["DeviceDiskFull"]),
}


@pytest.mark.parametrize("key", TURNED_OFF)
def test_a_number_of_the_scope_turns_its_own_alerts_and_no_other(folder: Path, key: str) -> None:
    """With a limit that nothing breaks, what should fire is silent, and that is seen."""
    before = rules(folder)
    promise(folder, **{key: TURNED_OFF[key][0]})
    after = rules(folder)
    assert [name for name in CASES if before[name] != after[name]] == TURNED_OFF[key][1]
    for name in TURNED_OFF[key][1]:
        result = judged(folder, name, fires=True)
        assert result.returncode == 1 and "FAILED" in result.stdout + result.stderr


def test_every_number_of_the_fleet_is_turned(folder: Path) -> None:
    scope = yaml.safe_load((folder / "scope.yaml").read_text())
    assert TURNED_OFF.keys() == scope["fleet"].keys() | {"max_latency_p95_ms"}


@pytest.fixture
def watched(folder: Path) -> Iterator[tuple[Any, int, int]]:
    """A collector, and a Prometheus that looks at it every second; their ports."""
    promise(folder, max_silence_s=61)
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
    yield server, port, web
    end(process)
    end(server)


def asked(web: int, query: str) -> list[Any]:
    url = f"http://127.0.0.1:{web}/api/v1/query?query={quote(query)}"
    try:
        with urlopen(url, timeout=30) as response:
            return list(json.load(response)["data"]["result"])
    except OSError:  # not up yet
        return []


@pytest.mark.long
def test_prometheus_notices_a_device_that_was_killed(
    folder: Path, watched: tuple[Any, int, int]
) -> None:
    _, port, web = watched
    firing = 'ALERTS{alertname="DeviceSilent", alertstate="firing"}'
    settings(folder, 'upload_url: ""', f"upload_url: http://127.0.0.1:{port}/events")
    settings(folder, 'device: ""', "device: line-1")
    sender = device(folder, 10**6, PAUSE_S="0.2")
    until(lambda: asked(web, 'device_info{device="line-1"}'))
    assert asked(web, firing) == []
    end(sender)
    until(lambda: asked(web, firing), within_s=120)
    assert asked(web, firing)[0]["metric"]["device"] == "line-1"
    got = len(delivered(folder))
    sender = device(folder, 10**6, PAUSE_S="0.2")
    until(lambda: not asked(web, firing) and len(delivered(folder)) > got)
    end(sender)
