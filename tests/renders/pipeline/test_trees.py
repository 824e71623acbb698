"""Projects with trees: from a table to a served answer, in an environment without PyTorch."""

import json
import re
import shutil
from pathlib import Path

import pytest

from conftest import QUESTIONS, Render, Shared
from environment import environment, requirements, variables
from repository import done, run_in
from server import release, serving

PIPELINE = (
    "from scratch_detector.cli import STAGES, run; [run(n) for n in (*STAGES, 'card', 'example')]"
)
ANSWER = """
import glob, json
from scratch_detector.pipeline.estimator import load_checkpoint
from scratch_detector.problem.estimators import predict
from scratch_detector.task.features import decode, features
(example,) = glob.glob("data/example.*")
x = features(decode(open(example, "rb").read()))
print(json.dumps(predict(load_checkpoint()[0], x[None])[0].tolist()))
"""
FOREST = "RandomForestClassifier"
TABLE = {"modality": "tabular", "framework": "trees"}


def run_without_pytorch(folder: Path, *arguments: str, options: tuple[str, ...] = ()) -> str:
    """Run Python where only the packages of the project are, pytest, and XGBoost.

    The options are those of `uv pip install`.
    """
    wanted = [*requirements(folder, "serve", "train"), "pytest>=8.3", "xgboost-cpu>=3"]
    place = environment(wanted, *options)
    assert not list(place.glob("lib/*/site-packages/torch"))
    env = variables(folder, place) | {"PATH": f"{place}/bin:/usr/bin:/bin"}
    return done(run_in(folder, str(place / "bin/python"), *arguments, **env))


def make(folder: Path) -> None:
    done(run_in(folder, "git", "init", "-q", "-b", "main"))
    printed = run_without_pytorch(folder, "-c", PIPELINE)
    assert " limits met." in printed and "does not apply" in printed


@pytest.fixture
def fitted(render: Render, shared: Shared) -> Path:
    """A project with trees that meet its limits."""
    return shared("fitted", render(**TABLE, target="cloud"), make)


@pytest.mark.long
def test_the_served_answers_are_those_of_the_estimator(fitted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(fitted, folder, symlinks=True)
    shares = json.loads(run_without_pytorch(folder, "-c", ANSWER))
    release(folder)
    with serving(folder, command="serve") as server:
        said = json.loads(server.ask("/predict", server.payload).body)
    assert said["label"] == ["fraud", "legitimate"][shares.index(max(shares))]
    assert said["confidence"] == pytest.approx(max(shares), abs=1e-5)
    card = (folder / "docs/card.md").read_text()
    assert "- LGBMClassifier, shipped as fp32 ONNX." in card and "Trained on 2,788 of them." in card
    page = (folder / "reports/report.html").read_text()
    assert (
        "does not apply: thresholds of trees stay float32" in page and 'id="training"' not in page
    )


@pytest.mark.matrix
def test_the_tests_of_the_project_pass(fitted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(fitted, folder, symlinks=True)
    names = ("pipeline/test_estimator.py", "pipeline/test_report.py", "problem", "test_dvc.py")
    tests = [f"tests/{name}" for name in (*names, "test_layers.py")]
    assert "skipped" not in run_without_pytorch(folder, "-m", "pytest", "-q", "-x", *tests)


SAVE = """
import os, pickle, sys
import joblib, skops.io
from lightgbm import LGBMClassifier
from xgboost import XGBClassifier
from scratch_detector.cli import run
from scratch_detector.pipeline.splits import load_split
kinds = {"model.txt": LGBMClassifier, "model.json": XGBClassifier}
name, code = sys.argv[1:]
model = kinds.get(name, LGBMClassifier)(n_estimators=5).fit(*load_split("train")[:2])
os.chdir("src/scratch_detector/task")
exec(code)
os.chdir("../../..")
[run(stage) for stage in ("train", "export")]
"""


@pytest.mark.long
def test_the_code_of_the_training_guide_works(fitted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(fitted, folder, symlinks=True)
    page = (folder / "docs/training.md").read_text()
    (code,) = re.findall(r"(?s)```python\n# src/scratch_detector/task/model.py\n(.*?)```", page)
    model = folder / "src/scratch_detector/task/model.py"
    model.write_text(code)
    both = "from scratch_detector.cli import run; [run(stage) for stage in ('train', 'export')]"
    run_without_pytorch(folder, "-c", both)
    assert json.loads((folder / "reports/train.json").read_text())["estimator"] == FOREST
    model.write_text(f'{code}\n\nLABELS = ["fraud", "legitimate"]\n')
    rows = re.findall(r"(?m)^\| `(model\.\w+)`.*? \| `(.+?)`, (?=[a-zA-Z])", page)
    assert [name for name, _ in rows] == ["model.skops", "model.txt", "model.json"]
    for name, save in rows:
        run_without_pytorch(folder, "-c", SAVE, name, save)
        made = json.loads((folder / "reports/train.json").read_text())
        assert made["origin"][0].startswith(f"Made from `{name}`")
        assert json.loads((folder / "reports/export.json").read_text())["max_difference"] < 1e-5
        model.with_name(name).unlink()


@pytest.mark.matrix
@pytest.mark.parametrize("target", ["edge", "hybrid"])
def test_trees_for_numbers(target: str, render: Render, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(render(**TABLE, target=target, problem="regression"), folder)
    make(folder)
    run_without_pytorch(folder, "-m", "pytest", "-q", "tests/pipeline", "tests/problem")


@pytest.mark.matrix
def test_the_lowest_allowed_versions(fitted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(fitted, folder, symlinks=True)
    lowest = ("--resolution=lowest-direct",)
    assert " limits met." in run_without_pytorch(folder, "-c", PIPELINE, options=lowest)
    tests = ("-m", "pytest", "-q", "tests/pipeline/test_estimator.py")
    run_without_pytorch(folder, *tests, options=lowest)


def test_no_requirement_of_such_a_project_is_pytorch(render: Render) -> None:
    folder = render(**TABLE, target="hybrid", torch_source="cpu")
    assert "torch" not in (folder / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("name", "value", "answers", "rule"),
    [
        ("framework", "trees", {"modality": "image"}, "only for rows of a table; one of pytorch, "),
        (
            "framework",
            "trees",
            {"modality": "tabular", "problem": "multilabel"},
            "only for one label, or a number; one of pytorch",
        ),
        ("export_formats", "openvino", TABLE, "leave it empty: none of them runs trees"),
    ],
)
def test_what_does_not_fit_trees_is_refused(
    name: str, value: str, answers: dict[str, str], rule: str
) -> None:
    settled, _ = QUESTIONS.settle(answers, until=name)
    assert QUESTIONS.problem(name, value, settled).startswith(rule)
