"""`poc2prod new --model FILE`: the project starts from a trained model."""

from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from poc2prod.cli import app


def new(source: Path, place: Path, *more: str) -> Result:
    command = ["new", str(place / "leaf-watch"), "--template", str(source), "--no-setup", *more]
    return CliRunner().invoke(app, command)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file named like a model, with its weights next to it."""
    path = tmp_path / "best.onnx"
    path.write_bytes(b"model")
    (tmp_path / "best.onnx.data").write_bytes(b"weights")
    return path


def test_a_model_is_copied_into_the_project(source: Path, tmp_path: Path, model: Path) -> None:
    result = new(source, tmp_path, "--defaults", "--model", str(model))
    assert (result.exit_code, result.stderr.count("Error")) == (0, 0)
    folder = tmp_path / "leaf-watch"
    task = next((folder / "src").iterdir()) / "task"
    assert (task / "model.onnx").read_bytes() == b"model"
    assert (task / "best.onnx.data").read_bytes() == b"weights"  # the name that the model has
    recorded = yaml.safe_load((folder / ".copier-answers.yml").read_text())
    assert recorded["framework"] == "onnx"
    ingest, describe = (result.stdout.index(word) for word in (" ingest path/to/data", "given.py"))
    assert ingest < describe < result.stdout.index("make model")


@pytest.mark.parametrize(
    ("name", "framework", "described"),
    [("a.keras", "keras", "given.py"), ("a.txt", "trees", "model.py")],
)
def test_models_of_other_libraries_are_copied(
    name: str, framework: str, described: str, source: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"model")
    result = new(source, tmp_path, "--defaults", "--model", str(tmp_path / name))
    assert result.exit_code == 0 and f"task/{described}" in result.stdout
    folder = tmp_path / "leaf-watch"
    task = next((folder / "src").iterdir()) / "task"
    assert (task / f"model{Path(name).suffix}").read_bytes() == b"model"
    recorded = yaml.safe_load((folder / ".copier-answers.yml").read_text())
    assert recorded["framework"] == framework
    assert (recorded["modality"] == "tabular") == (framework == "trees")


def test_a_model_for_tables_is_refused_for_images(source: Path, tmp_path: Path) -> None:
    (tmp_path / "a.skops").write_bytes(b"model")
    answers = tmp_path / "answers.yml"
    answers.write_text("modality: image\n")
    command = ("--answers", str(answers), "--model", str(tmp_path / "a.skops"))
    result = new(source, tmp_path, *command)
    assert result.exit_code == 1
    assert "modality: got 'image'; with --model a.skops, it is tabular" in result.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [("none.onnx", "is not a file"), ("best.pt", "is none of .onnx, .keras, .skops, ")],
)
def test_another_file_is_refused(name: str, words: str, source: Path, tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"")
    result = new(source, tmp_path, "--defaults", "--model", str(tmp_path / name))
    assert result.exit_code == 1 and words in result.stderr
    assert not (tmp_path / "leaf-watch").exists()


def test_another_framework_is_refused(source: Path, tmp_path: Path, model: Path) -> None:
    answers = tmp_path / "answers.yml"
    answers.write_text("framework: pytorch\n")
    result = new(source, tmp_path, "--answers", str(answers), "--model", str(model))
    assert result.exit_code == 1
    assert "framework: got 'pytorch'; with --model best.onnx, it is onnx" in result.stderr
    assert not (tmp_path / "leaf-watch").exists()


def test_an_older_template_cannot_take_a_model(tmp_path: Path, model: Path) -> None:
    template = tmp_path / "older"
    (template / "template").mkdir(parents=True)
    (template / "copier.yml").write_text("_subdirectory: template\n")
    result = new(template, tmp_path, "--defaults", "--model", str(model))
    assert result.exit_code == 1 and "use a newer one" in result.stderr
