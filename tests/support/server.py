"""Run the server of a render as a process, and send it requests over real sockets."""

import http.client
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from environment import ROOT, environment, requirements, variables
from repository import done, run_in

KINDS = {".png": "image/png", ".wav": "audio/wav", ".json": "application/json"}
READY_WITHIN_S = 60
# Release the current model with the reports of another one, as a bad model that looks good.
RELEASE = """
from hashlib import sha256
from scratch_detector.pipeline import card, check
from scratch_detector.releases import release
from scratch_detector.artifacts import SHIPPED, read_report, write_report
shipped = sha256(SHIPPED.read_bytes()).hexdigest()
write_report("evaluate", read_report("evaluate") | {"model_sha256": shipped})
check.check()
card.card()
release.release()
"""
# Sign and write a rollout, whatever state its releases are in.
ROLL_OUT = """
import json, sys
from scratch_detector.releases import registry
registry.write_rollout(registry.Rollout(**json.loads(sys.argv[1])))
"""
# An attacker with write access, but no key, replaces a model as soon as it was read.
REPLACE = """
import shutil
from pathlib import Path
read_bytes = Path.read_bytes
def read_and_replace(path):
    content = read_bytes(path)
    if path.name == "model.onnx" and len(path.parent.name) == 12:
        shutil.copy("evil.onnx", path)
    return content
Path.read_bytes = read_and_replace
"""


class Reply(NamedTuple):
    """An HTTP response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed as JSON."""
        return json.loads(self.body)


class Server(NamedTuple):
    """A server process and a valid payload for it."""

    process: subprocess.Popen[bytes]
    port: int
    payload: bytes
    kind: str

    def ask(
        self, path: str = "/predict", body: bytes | None = None, method: str = "", **headers: str
    ) -> Reply:
        """Send one request on a new connection; by default, `/predict` gets the payload."""
        body = self.payload if body is None and path == "/predict" else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        method = method or ("GET" if body is None else "POST")
        connection.request(method, path, body, {"content-type": self.kind} | named)
        response = connection.getresponse()
        reply = Reply(response.status, response.headers, response.read())
        connection.close()
        return reply

    def metric(self, name: str) -> float:
        """Read one number from `/metrics`; 0 if it is missing."""
        text = self.ask("/metrics").body.decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def challenger_share(self, id: str) -> float:
        """Read the share of requests that a challenger serves."""
        return self.metric(f'challenger_share_ratio{{release="{id}"}}')

    def connect(self) -> socket.socket:
        """Open a raw connection, for requests that client libraries do not send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def head(self, length: int) -> bytes:
        """Return the header of a request with a body of this length."""
        words = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: {self.kind}\r\n"
        return f"{words}content-length: {length}\r\n\r\n".encode()

    def memory_mb(self) -> float:
        """Read the resident memory of the process (RSS, which includes shared pages)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1000


@contextmanager
def serving(
    folder: Path,
    settings: str = "",
    command: str = "rehearse",
    log: Path | None = None,
    port: int = 0,
    place: Path | None = None,
    **env: str,
) -> Iterator[Server]:
    """Serve a render with a model, without PyTorch, after running the Python code in `settings`.

    `place` is the environment, if it is not the usual one.
    """
    place = place or environment(requirements(folder, "serve"))
    if not port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    (example,) = (folder / "data").glob("example.*")
    code = f"{settings}\nfrom scratch_detector import cli\ncli.run('{command}')"
    with (log or folder / "server.log").open("wb") as file:
        process = subprocess.Popen(
            [str(place / "bin" / "python"), "-c", code],
            cwd=folder,
            env=variables(folder, place) | {"SCRATCH_DETECTOR_PORT": str(port)} | env,
            stdout=file,
            stderr=file,
        )
        server = Server(process, port, example.read_bytes(), KINDS[example.suffix])
        try:
            until = time.monotonic() + READY_WITHIN_S
            while process.poll() is None and time.monotonic() < until:
                try:
                    if server.ask("/readyz").status == http.HTTPStatus.OK:
                        break
                except OSError:
                    time.sleep(0.05)
            yield server
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()


def release(folder: Path, kind: str = "", before: str = "") -> str:
    """Release the model, optionally with a fault, after running some code; return the id."""
    model, script = "models/shipped.onnx", ROOT / "tests/support/inside/fabricate.py"
    if kind:
        done(run_in(folder, "python", str(script), kind, model, model))
    output = done(run_in(folder, "python", "-c", before + RELEASE))
    return re.findall(r"(?:Champion|Candidate): ([0-9a-f]{12}) ", output)[0]


def command(folder: Path, *words: str, **env: str) -> str:
    """Run a command of the render; return its output."""
    return done(run_in(folder, "python", "-m", "scratch_detector", *words, **env))


def roll_out(folder: Path, **ids: str) -> None:
    """Sign and write the releases in use, like `champion="3f9c0b7a12de"`."""
    done(run_in(folder, "python", "-c", ROLL_OUT, json.dumps(ids)))


def set_challenger_limit(folder: Path, key: str, value: float) -> None:
    """Change a limit for challengers in scope.yaml."""
    path = folder / "scope.yaml"
    text, found = re.subn(rf"^  {key}: [\d.]+", f"  {key}: {value}", path.read_text(), flags=re.M)
    assert found == 1, key
    path.write_text(text)


def with_latency_limit(milliseconds: int, **settings: object) -> str:
    """Return Python code for `serving` that sets the latency limit and these module constants."""
    lines = [f"limit = {{'max_latency_p95_ms': {milliseconds}}}"]
    lines += ["from scratch_detector import scope"]
    lines += ["relaxed = scope.load_scope().model_copy(update=limit)"]
    lines += ["scope.load_scope = lambda: relaxed"]
    lines += ["from scratch_detector.serving import canary, http_server, inference"] * bool(
        settings
    )
    lines += [f"{name.replace('__', '.')} = {value}" for name, value in settings.items()]
    return "\n".join(lines)
