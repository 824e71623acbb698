"""Run Prometheus and Alertmanager with the files of a render, with all durations shortened."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import yaml

from containers import free_port

# Days become seconds: windows, `for` of alerts and waiting times of Alertmanager.
WINDOWS = {"5m": "5s", "30m": "8s", "1h": "8s", "2h": "8s", "6h": "12s", "1d": "12s", "3d": "16s"}
WINDOWS |= {"7d": "60s"}
# `RetrainDue` sums hours in steps of 5 minutes; here both hours and steps last one second.
HOURS = {"[7d:5m]": "[60s:1s]", "[10m:5m]": "[2s:1s]", "/ 12 >=": ">=", "- 3600 *": "- 1 *"}
NOTICES = {"group_wait": "100ms", "group_interval": "1s"}


def tool(name: str) -> str:
    """Return the path of a program of a Debian package; skip the test if it is missing."""
    if not (path := shutil.which(name)):
        pytest.skip(f"NOT TESTED: {name} is missing (a program in Debian)")
    return path


def in_seconds(rules: str, hours: bool = True) -> str:
    """Shorten windows, `for` and `interval`, and optionally hours; change nothing else."""
    for long, short in {f"[{k}]": f"[{v}]" for k, v in WINDOWS.items()}.items():
        rules = rules.replace(long, short)
    for long, short in HOURS.items() if hours else ():
        assert long in rules
        rules = rules.replace(long, short)
    return re.sub(r"interval: 1m", "interval: 1s", re.sub(r"for: [1-9]\w+", "for: 2s", rules))


@dataclass
class Watch:
    """Records delivered notifications, and queries Prometheus."""

    web: int
    delivered: list[tuple[str, str, str]] = field(default_factory=list)  # receiver, alert, status
    state: dict[str, str] = field(
        default_factory=dict
    )  # last delivered status, by labels of the alert
    names: dict[str, str] = field(default_factory=dict)

    def record(self, receiver: str, message: dict[str, Any]) -> None:
        """Record a notification from Alertmanager."""
        for alert in message["alerts"]:
            name, key = alert["labels"]["alertname"], json.dumps(alert["labels"], sort_keys=True)
            self.state[key], self.names[key] = alert["status"], name
            self.delivered.append((receiver, name, alert["status"]))

    def firing(self) -> set[str]:
        """Return the alerts that were delivered and are not resolved."""
        return {self.names[key] for key, status in self.state.items() if status == "firing"}

    def query(self, expression: str) -> list[Any]:
        """Query Prometheus; return nothing until it is running."""
        url = f"http://127.0.0.1:{self.web}/api/v1/query?query={quote(expression)}"
        try:
            with urlopen(url, timeout=30) as response:
                return list(json.load(response)["data"]["result"])
        except OSError:
            return []


@contextmanager
def watching(folder: Path, work: Path, port: int, hours: bool = True) -> Iterator[Watch]:
    """Run Prometheus and Alertmanager with the files of a render; `hours` shortens hours, too."""
    watch, calls = Watch(free_port()), free_port()
    work.mkdir()

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            watch.record(self.path.strip("/"), json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    sink = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=sink.serve_forever, daemon=True).start()

    config = yaml.safe_load((folder / "deploy/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    for name in config["rule_files"]:
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_text(in_seconds((folder / "deploy" / name).read_text(), hours))
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{port}"]
    manager = config["alerting"]["alertmanagers"][0]["static_configs"][0]
    manager["targets"] = [f"127.0.0.1:{calls}"]
    (work / "prometheus.yml").write_text(yaml.safe_dump(config))

    text = (folder / "deploy/alertmanager.yml").read_text()
    text = text.replace("host.docker.internal:8002", f"127.0.0.1:{sink.server_port}")
    for key, short in NOTICES.items():
        text = re.sub(rf"{key}: \S+", f"{key}: {short}", text)
    (work / "alertmanager.yml").write_text(text)

    commands = [
        [tool("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"],
        [tool("prometheus-alertmanager"), "--config.file=alertmanager.yml", "--storage.path=am"],
    ]
    commands[0] += [f"--web.listen-address=127.0.0.1:{watch.web}"]
    commands[1] += [f"--web.listen-address=127.0.0.1:{calls}", "--cluster.listen-address="]
    with ExitStack() as stack:
        stack.callback(sink.server_close)
        stack.callback(sink.shutdown)
        for command in commands:
            log = stack.enter_context((work / f"{Path(command[0]).name}.log").open("w"))
            process = subprocess.Popen(command, cwd=work, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield watch
