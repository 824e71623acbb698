"""`poc2prod demo` with fast make targets: order of the steps, errors, and no server left over."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import pytest

COPIER_YML = """\
package_name: {type: str, default: tiny_demo}
_subdirectory: template
"""
MAKEFILE = """\
setup model release:
\t@echo did $@ with $${PATH%%%%:*} >> done.txt
serve:
\t@echo $$$$ > make.pid; exec %s serve.py
example:
\t@mkdir -p data reports; printf 'a picture' > data/example.png
\t@cp gates.json reports/gates.json
"""
GATES = [
    {"id": "min_metric", "name": "accuracy (int8)", "observed": 0.96123, "limit": 0.9}
    | {"comparison": ">=", "passed": True, "where": "scope.yaml"},
    {"id": "max_model_mb", "name": "size [mb]", "observed": 0.25, "limit": 20}
    | {"comparison": "<=", "passed": True, "where": "scope.yaml"},
]
# Ready at the third request; returns the request.
SERVER = """\
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    looks = 0

    def reply(self, status, body=b""):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        Handler.looks += 1
        self.reply(200 if self.path == "/readyz" and self.looks > 2 else 503)

    def do_POST(self):
        sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
        answer = {"path": self.path, "type": self.headers["Content-Type"], "sent": sent}
        self.reply(200, json.dumps(answer).encode())

HTTPServer(("127.0.0.1", int(os.environ["TINY_DEMO_PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A template in a plain folder."""
    folder = tmp_path / "source"
    (folder / "template").mkdir(parents=True)
    (folder / "copier.yml").write_text(COPIER_YML)
    files = {"Makefile": MAKEFILE % sys.executable, "serve.py": SERVER}
    for name, text in (files | {"gates.json": json.dumps(GATES)}).items():
        (folder / "template" / name).write_text(text)
    settings = tmp_path / "settings.yml"
    settings.write_text("{}\n")
    monkeypatch.setenv("COPIER_SETTINGS_PATH", str(settings))
    monkeypatch.setenv("COPIER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("POC2PROD_TEMPLATE", str(folder))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("MAKEFLAGS", "n")  # as from `make -n demo`; the project must not see it
    return folder / "template"


def demo(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "poc2prod", "demo", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, **options
    )


def test_the_demo_prints_how_to_install_missing_tools(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("make", "git", "sh", "mkdir", "cp"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    monkeypatch.setenv("PATH", str(tools))
    process = demo(tmp_path / "mine")
    assert process.returncode == 0, process.stderr
    steps = process.stdout.partition("\nNext:\n")[2].splitlines()
    assert steps[0].startswith("  pip install uv ") and steps[1] == f"  cd {tmp_path}/mine"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_the_demo_ends_with_a_prediction(template: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    process = demo(cwd=here)
    folder = tmp_path / "poc2prod-demo"
    assert (process.returncode, process.stderr) == (0, "")
    tools = Path(sys.executable).parent  # where our uv is
    did = [f"did {target} with {tools}" for target in ("setup", "model", "release")]
    assert (folder / "done.txt").read_text().splitlines() == did
    answer = process.stdout[process.stdout.index("{") : process.stdout.index("}") + 1]
    assert json.loads(answer) == {"path": "/predict", "type": "image/png", "sent": "a picture"}
    assert "size [mb]" in process.stdout and "0.9612" in process.stdout
    assert ">= 0.9 " in process.stdout
    assert f"Report: {folder}/reports/report.html\n" in process.stdout
    assert f"  cd {folder}\n  make serve " in process.stdout.partition("\nNext:\n")[2]
    assert not is_alive(int((folder / "make.pid").read_text()))


BREAKS = [
    (
        "setup model release:\n\t",
        "setup release:\n\t@true\nmodel:\n\t@exit 3; ",
        "make model`: exit status 2",
    ),
    (
        "exec ",
        "echo no such model; exit 1; ",
        "make serve`: /readyz did not return 200 within 60 s; output of the server:",
    ),
    ("> data/example.png", "", "predict`: [Errno 2] No such file"),
    ("cp gates.json reports/", "echo oops > reports/", "read the gates`: Expecting value"),
]


@pytest.mark.parametrize(
    ("whole", "broken", "words"), BREAKS, ids=["model", "serve", "ex", "gates"]
)
def test_names_the_failed_step(
    whole: str, broken: str, words: str, template: Path, tmp_path: Path
) -> None:
    makefile = template / "Makefile"
    makefile.write_text(makefile.read_text().replace(whole, broken, 1))
    process = demo(tmp_path / "mine")
    assert process.returncode == 1
    assert f"The demo failed at `{words}" in process.stderr
    assert "Traceback" not in process.stderr
    if "serve" in words:
        assert "no such model" in process.stderr


def test_shows_a_failed_prediction(template: Path, tmp_path: Path) -> None:
    server = template / "serve.py"
    server.write_text(server.read_text().replace("self.reply(200, json", "self.reply(422, json"))
    process = demo(tmp_path / "mine")
    assert process.returncode == 1
    assert "The demo failed at `predict`: 422 {" in process.stderr
    assert not is_alive(int((tmp_path / "mine/make.pid").read_text()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stops_its_server_when_interrupted(
    number: signal.Signals, template: Path, tmp_path: Path
) -> None:
    server = template / "serve.py"
    server.write_text(server.read_text().replace("looks > 2", "looks > 2000"))
    command = [sys.executable, "-m", "poc2prod", "demo", str(tmp_path / "mine")]
    pid = tmp_path / "mine/make.pid"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        wait_for(pid, process)
        process.send_signal(number)
        assert process.wait(20) == 130
        assert read(process.stderr) == "Stopped.\n"
    assert not is_alive(int(pid.read_text()))


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)


def read(stream: IO[bytes] | None) -> str:
    assert stream
    return stream.read().decode()


def test_rejects_a_folder_that_is_not_empty(template: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/work.txt").touch()
    process = demo(tmp_path / "mine")
    assert process.returncode == 1
    assert "mine is not empty; choose another folder" in process.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["work.txt"]
