"""Which build of PyTorch a new project gets, by the machine and by its network."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from conftest import ROOT
from poc2prod import pytorch
from poc2prod.cli import app


class Index(BaseHTTPRequestHandler):
    """A package index that has PyTorch."""

    def do_HEAD(self) -> None:
        self.send_response(200 if self.path == "/whl/cpu/torch/" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def index() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/whl/cpu"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch, "DRIVER", tmp_path / "driver")


def torch_source(folder: Path, answers: str = "") -> str:
    """Create a project and return the recorded answer."""
    (folder / "answers.yml").write_text(answers or "{}")
    words = ["new", "--answers", str(folder / "answers.yml"), "--template", str(ROOT)]
    result = CliRunner().invoke(app, [*words, str(folder / "project")])
    assert result.exit_code == 0, result.output
    project = (folder / "project/pyproject.toml").read_text()
    answer = yaml.safe_load((folder / "project/.copier-answers.yml").read_text())["torch_source"]
    assert ("pytorch-cpu" in project) == (answer == "cpu")
    return str(answer)


def test_without_a_driver_the_cpu_build_is_taken_if_its_index_answers(
    index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POC2PROD_CPU_INDEX", index)
    assert torch_source(tmp_path) == "cpu"


@pytest.mark.parametrize("case", ["a driver", "the answer", "another page", "no server", "empty"])
def test_otherwise_the_build_of_pypi_is_taken(
    case: str, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {"another page": f"{index}/none", "no server": "http://127.0.0.1:9", "empty": ""}
    monkeypatch.setenv("POC2PROD_CPU_INDEX", others.get(case, index))
    if case == "a driver":
        (tmp_path / "driver").mkdir()
    assert torch_source(tmp_path, "torch_source: pypi" if case == "the answer" else "") == "pypi"
