"""Other model formats: only chosen ones are rendered, and each converter works."""

import io
import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from rich.console import Console

from conftest import QUESTIONS, Render
from environment import environment, release, requirements, search_path
from poc2prod.update import update
from repository import commit_files, done, run_in

FORMATS = ("executorch", "litert", "coreml", "openvino")
RUN_HERE = [name for name in FORMATS if name != "coreml"]
ALL = ", ".join(FORMATS)
SHARED = {"__init__.py", "convert.py", "runtime.py", "format.py"}
FROM_PYTORCH = {"executorch", "litert", "coreml"}


@pytest.mark.parametrize("chosen", ["openvino", "litert,coreml", "openvino, executorch", ALL])
def test_renders_only_the_chosen_formats(chosen: str, render: Render) -> None:
    folder = render(modality="tabular", target="edge", export_formats=chosen)
    names = {name.strip() for name in chosen.split(",")}
    files = {path.name for path in (folder / "src/scratch_detector/formats").iterdir()}
    assert files - SHARED - {"torch_program.py"} == {f"{name}.py" for name in names}
    assert files >= SHARED and ("torch_program.py" in files) == bool(names & FROM_PYTORCH)
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["dependency-groups"].keys() == {"train", "dev"} | names
    (apart,) = project["tool"]["uv"]["conflicts"]
    assert [group["group"] for group in apart[1:]] == [n.strip() for n in chosen.split(",")]
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
    assert set(stages["formats"]["foreach"]) == names
    for stage in ("report", "check"):
        assert {f"reports/format_{name}.json" for name in names} <= set(stages[stage]["deps"])
    recipe = (folder / "Makefile").read_text().partition("\nformats:")[2].partition("\n\n")[0]
    assert recipe.splitlines()[-1] == "\t$(RUN) check", "`dvc repro` alone accepts weak models"


def test_renders_no_trace_of_formats_by_default(render: Render) -> None:
    folder = render(modality="tabular", target="edge")
    assert not (folder / "src/scratch_detector/formats").exists()
    assert not (folder / "tests/formats").exists()
    for name in ("pyproject.toml", "dvc.yaml"):
        assert not [word for word in (*FORMATS, "conflicts") if word in (folder / name).read_text()]
    named = ("make formats", "repro formats", "formats@", "format_*", "export_formats:")
    for path in (path for path in folder.rglob("*") if path.is_file()):
        seen = [word for word in named if word in path.read_text()]
        assert path.name == ".copier-answers.yml" or seen == [], path


@pytest.mark.parametrize(
    "wrong", ["tflite", "litert, litert", "litert;coreml", ",", "LiteRT", "litert\n"]
)
def test_rejects_unknown_formats(wrong: str) -> None:
    _, (problem,) = QUESTIONS.settle({"export_formats": wrong})
    assert problem.endswith(f"; like {ALL}")


def test_format_can_be_added_and_removed_later(tmp_path: Path) -> None:
    template = commit_files(release(tmp_path / "template"), tag="v1.0.0")
    folder = tmp_path / "mine"
    copier.run_copy(str(template), folder, {"modality": "tabular"}, defaults=True, quiet=True)
    commit_files(folder)
    formats = folder / "src/scratch_detector/formats"
    console = Console(file=io.StringIO(), width=100)
    for answer, files in (
        ("openvino,litert", {"openvino.py", "litert.py"}),
        ("litert", {"litert.py"}),
    ):
        update(
            folder,
            console,
            to=None,
            template=None,
            answers=[f"export_formats={answer}"],
            dry_run=False,
            test=False,
            merge=True,
        )
        found = {path.name for path in formats.iterdir() if path.suffix == ".py"}
        assert found == SHARED | {"torch_program.py"} | files


# Executed


@pytest.fixture(scope="module")
def formatted(modelled: Path, render: Render, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with a model and all formats."""
    folder = tmp_path_factory.mktemp("formatted") / "repo"
    shutil.copytree(modelled, folder, symlinks=True)
    chosen = render(modality="tabular", target="cloud", export_formats=ALL)
    shutil.copytree(chosen, folder, dirs_exist_ok=True)
    shutil.copytree(modelled / "docs", folder / "docs", dirs_exist_ok=True)
    return folder


@pytest.fixture
def project(formatted: Path, tmp_path: Path) -> Path:
    """Return a copy to change."""
    shutil.copytree(formatted, tmp_path / "repo", symlinks=True)
    return tmp_path / "repo"


@pytest.mark.long
def test_tests_of_the_render_pass(project: Path) -> None:
    names = ["tests/formats", "tests/test_layers.py"]
    done(run_in(project, "python", "-m", "pytest", "-q", *names))


def install(folder: Path, name: str) -> None:
    """Install the group of a format where its stage expects it."""
    place = environment(requirements(folder, "train", name))
    (folder / f".venv-{name}").symlink_to(place)


def keep_format(folder: Path, name: str) -> None:
    """Remove all other formats from `dvc.yaml`: each would need an environment."""
    path = folder / "dvc.yaml"
    text = path.read_text().replace(f"foreach: [{ALL}]", f"foreach: [{name}]")
    lines = text.splitlines(keepends=True)
    others = {f"      - reports/format_{other}.json\n" for other in FORMATS if other != name}
    assert others <= set(lines)
    path.write_text("".join(line for line in lines if line not in others))


def convert(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Run the stage of a format without earlier stages."""
    python = str(folder / f".venv-{name}" / "bin" / "python")
    return run_in(folder, python, "-m", "scratch_detector.formats.convert", name)


def read_report(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"reports/format_{name}.json").read_text())
    return found


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(FORMATS, marks=pytest.mark.matrix, id="all"),
        pytest.param(("openvino",), marks=pytest.mark.long, id="one"),
    ],
)
def test_writes_runs_and_measures_formats(
    names: tuple[str, ...], project: Path, tmp_path: Path
) -> None:
    if len(names) == 1:
        keep_format(project, names[0])
    for name in names:
        install(project, name)
    home = tmp_path / "home"
    home.mkdir()
    printed = done(run_in(project, "make", "formats", HOME=str(home)))
    assert not (home / "intel").exists(), "OpenVINO recorded its usage"
    run_here = [name for name in names if name in RUN_HERE]
    for name in run_here:
        row = read_report(project, name)
        assert row["broken"] == [] and row["agreement"] == 1
        assert 0 <= row["max_difference"] < 1e-5
        assert 0 < row["latency_p50_ms"] <= row["latency_p95_ms"] and row["size_mb"] > 0
    gates = {gate["id"] for gate in json.loads((project / "reports/gates.json").read_text())}
    assert {f"{name}_parity" for name in run_here} <= gates
    if "coreml" in names:
        row = read_report(project, "coreml")
        assert "only a Mac runs it" in row["not_run"] and row["broken"] == []
        assert "coreml_model_size" in gates
    facts = json.loads((project / "reports/evaluate.json").read_text())["labels"]
    for name in names:
        recorded = json.loads((project / "models" / name / "facts.json").read_text())
        assert recorded["labels"] == facts
    last = printed.rpartition("On the validation split")[2]
    assert all(f" {name} " in last for name in ("fp32", "student_int8", *names))
    locked = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    assert all(f"formats@{name}" in locked for name in names)
    again = done(run_in(project, "make", "formats"))
    assert "Running stage 'formats@" not in again
    done(run_in(project, "python", "-m", "scratch_detector", "report"))


NETWORK = """
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import torch

from scratch_detector.formats import torch_program
from scratch_detector.formats.format import NotRunnableError
from scratch_detector.task.model import build_model

name, *shape = sys.argv[1], *map(int, sys.argv[2:])
torch.manual_seed(0)
network = build_model(tuple(shape), 3).eval()
facts = {"input_shape": shape, "labels": ["a", "b", "c"]}
torch_program.load_checkpoint = lambda: (network, facts)
import_module("scratch_detector.pipeline.train").load_checkpoint = torch_program.load_checkpoint
converter, folder = import_module(f"scratch_detector.formats.{name}"), Path(tempfile.mkdtemp())
converter.export(folder)
x = torch.randn(1, *shape)
try:
    answer = torch.from_numpy(converter.load(folder)(x.numpy()).copy())
    print("differs by", float((answer - network(x)).abs().max()))
except NotRunnableError as reason:
    print(reason)
"""


@pytest.mark.matrix
@pytest.mark.parametrize("name", sorted(FROM_PYTORCH))
def test_converters_support_all_bundled_networks(
    name: str, project: Path, render: Render, tmp_path: Path
) -> None:
    """Networks are untrained here; OpenVINO reads any ONNX file."""
    for modality, shape in (("image", ("3", "48", "48")), ("audio", ("32", "49"))):
        folder = tmp_path / modality
        shutil.copytree(render(modality=modality, target="cloud", export_formats=ALL), folder)
        python = environment(requirements(project, "train", name)) / "bin" / "python"
        printed = done(run_in(folder, str(python), "-c", NETWORK, name, *shape))
        if name == "coreml":
            assert "only a Mac runs it" in printed
        else:
            assert float(printed.split("differs by ")[1]) < 1e-5


SCALED = {
    "executorch": (
        "torch_program.py",
        "    example = (",
        "    model = _Scaled(model)\n    example = (",
    ),
    "litert": (
        "torch_program.py",
        "    example = (",
        "    model = _Scaled(model)\n    example = (",
    ),
    "openvino": (
        "openvino.py",
        "    openvino.save_model",
        "    from openvino.preprocess import PrePostProcessor\n"
        "    wrong = PrePostProcessor(model)\n"
        "    wrong.input().preprocess().scale(2.0)\n"
        "    model = wrong.build()\n"
        "    openvino.save_model",
    ),
}
CLASS = """

class _Scaled(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x / 2)
"""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("openvino", marks=pytest.mark.long),
        *(pytest.param(name, marks=pytest.mark.matrix) for name in RUN_HERE if name != "openvino"),
    ],
)
def test_rejects_a_wrong_normalisation(name: str, project: Path) -> None:
    install(project, name)
    file, before, after = SCALED[name]
    path = project / "src/scratch_detector/formats" / file
    assert path.read_text().count(before) == 1
    extra = CLASS if file == "torch_program.py" else ""
    path.write_text(path.read_text().replace(before, after) + extra)
    keep_format(project, name)
    result = run_in(project, "make", "formats")
    assert f"models/{name}: misses " in result.stdout and (project / "models" / name).exists()
    assert f"{name}_parity" in read_report(project, name)["broken"]
    assert "Running stage 'check'" in result.stdout, "later stages must run"
    assert result.returncode != 0 and "Traceback" not in result.stderr
    assert f"\n  {name}_parity: " in result.stderr
    assert "limit <= 0.001 (scope.yaml: max_onnx_difference)" in result.stderr
    gates = json.loads((project / "reports/gates.json").read_text())
    failed = [gate["id"] for gate in gates if not gate["passed"]]
    assert f"{name}_parity" in failed and all(id.startswith(f"{name}_") for id in failed)
    assert run_in(project, "make", "model").returncode != 0
    page = (project / "reports/report.html").read_text()
    assert page.count('class="broken"') == len(failed)
    row = page.partition(f'<th scope="row">{name}<')[2].partition("</tr>")[0]
    assert "✗ misses " in row and f"{name}_parity" in row
    assert f"\n  {name}_parity: " in run_in(project, "make", "release").stderr
    assert not list((project / "releases").glob("*/manifest.json"))


@pytest.mark.matrix
def test_rejects_a_core_ml_file_of_another_network(project: Path) -> None:
    install(project, "coreml")
    path = project / "src/scratch_detector/formats/torch_program.py"
    before = "    example = ("
    assert path.read_text().count(before) == 1
    path.write_text(path.read_text().replace(before, "    model = model[:1]\n" + before))
    stopped = convert(project, "coreml")
    assert stopped.returncode == 1
    assert "model.mlpackage has {'x': [1, 15], 'logits': [1, 64]}" in stopped.stderr
    assert not (project / "models/coreml").exists()


@pytest.mark.long
def test_converters_do_not_restrict_deployed_packages(render: Render, tmp_path: Path) -> None:
    """A real lock resolves conflicting groups separately."""
    uv = shutil.which("uv", path=search_path()) or "uv"

    def deployed(chosen: str) -> tuple[set[str], str]:
        folder = tmp_path / (chosen[:4] or "none")
        rendered = render(modality="tabular", target="cloud", export_formats=chosen)
        shutil.copytree(rendered, folder)
        plain = {"cwd": folder, "check": True, "capture_output": True, "text": True}
        subprocess.run([uv, "lock", "--quiet"], **plain)  # type: ignore[call-overload]
        export = [uv, "export", "-q", "--frozen", "--no-hashes", "--no-emit-project"]
        some = [*export, "--no-default-groups", "--extra", "serve"]
        found = subprocess.run(some, **plain)  # type: ignore[call-overload]
        return set(found.stdout.splitlines()[2:]), (folder / "uv.lock").read_text()

    alone, _ = deployed("")
    with_formats, lock = deployed(ALL)
    assert alone == with_formats
    assert all(f'name = "{n}"' in lock for n in ("executorch", "litert-torch", "coremltools"))
