"""Create a project with the default answers, train it and serve a prediction."""

import http.client
import json
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from rich.console import Console
from rich.table import Table

from .make import child_environment, run_make, start_make
from .next_steps import with_install
from .project import check_destination, create
from .pytorch import choose_build
from .questions import Questions
from .refusal import Refusal
from .template import default_source, open_template

LOCALHOST = "127.0.0.1"
READY_WITHIN_S = 60


def run(destination: Path, console: Console) -> None:
    """Render, set up, train, serve and predict. Raises Refusal that names the failed step."""
    if not shutil.which("make"):
        raise Refusal("make is not installed, and projects need it: apt install make")
    free = check_destination(destination)
    with open_template(default_source()) as template:
        project = create(template, choose_build(Questions.read(template.root)), {}, free)
    folder, port = project.folder, _free_port()
    environment = child_environment() | {
        f"{project.answers['package_name'].upper()}_PORT": str(port)
    }
    console.print(f"Rendered into {folder}", soft_wrap=True)
    for target in ("setup", "model", "release"):
        with _step(f"make {target}", console):
            run_make(target, folder, environment)
    with TemporaryFile() as log, start_make("serve", folder, environment, log) as server:
        with _step("make serve", console):
            _wait_until_ready(server, port, log)
        with _step("make example", console):
            run_make("example", folder, environment)
        with _step("predict", console):
            console.print_json(_predict(port, folder / "data/example.png"))
    with _step("read the gates", console):
        gates = json.loads((folder / "reports/gates.json").read_text("utf-8"))
        console.print(_print_gates(gates))
    console.print(f"Report: {folder / 'reports/report.html'}", soft_wrap=True)
    steps = [
        "Next:",
        f"  cd {shlex.quote(str(folder))}",
        "  make serve     # serve the model",
    ]
    console.print("\n".join(with_install(steps)), soft_wrap=True)


@contextmanager
def _step(name: str, console: Console) -> Iterator[None]:
    console.print(f"\n{name}", style="bold")
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException) as error:
        raise Refusal(f"The demo failed at `{name}`: {error}") from error


def _wait_until_ready(server: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            if _request(port, "GET", "/readyz")[0] == http.client.OK:
                return
        except (OSError, http.client.HTTPException):
            pass  # not listening yet
        time.sleep(0.1)
    log.seek(0)
    output = log.read().decode(errors="replace").splitlines()[-10:]
    message = f"/readyz did not return 200 within {READY_WITHIN_S} s; output of the server:"
    raise ValueError("\n".join([message, *output]))


def _predict(port: int, example: Path) -> str:
    status, body = _request(port, "POST", "/predict", example.read_bytes(), "image/png")
    answer = body.decode(errors="replace")
    if status != http.client.OK:
        raise ValueError(f"{status} {answer}")
    return answer


def _request(
    port: int, method: str, path: str, body: bytes | None = None, content_type: str = ""
) -> tuple[int, bytes]:
    # http.client, because urllib would use the proxy of the environment.
    connection = http.client.HTTPConnection(LOCALHOST, port, timeout=10)
    try:
        connection.request(method, path, body, {"Content-Type": content_type} if body else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((LOCALHOST, 0))
        return int(listener.getsockname()[1])


def _print_gates(gates: list[dict[str, Any]]) -> Table:
    table = Table("", "gate", "measured", "limit")
    for gate in gates:
        measured, limit = (f"{gate[key]:.4g}" for key in ("observed", "limit"))
        verdict = "pass" if gate["passed"] else "FAIL"
        table.add_row(verdict, gate["name"], measured, f"{gate['comparison']} {limit}")
    return table
