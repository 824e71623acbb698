"""Projects that take in a trained model: from a file made elsewhere to a served answer."""

import ast
import json
import re
import shutil
from pathlib import Path

import pytest

from conftest import ROOT, Render, Shared
from environment import environment, requirements, variables
from repository import done, run_in
from server import release, serving

MAKE_MODEL = ROOT / "tests/support/inside/make_model.py"
FIRST = "from scratch_detector.cli import STAGES, run; [run(n) for n in STAGES[:3]]"
REST = "from scratch_detector.cli import STAGES, run; [run(n) for n in (*STAGES[3:], 'card')]"
ONLY_FLOAT32 = """
from scratch_detector.pipeline import compress, quantize
from scratch_detector.cli import STAGES, run
compress.variants = lambda: {"fp32": quantize.fp32}
for name in (*STAGES[4:], "card"):
    run(name)
"""
EXAMPLE = "from scratch_detector.cli import run; run('example')"
ANSWER = """
import json, sys, numpy as np, onnxruntime
from scratch_detector.task.features import decode, features
x = features(decode(open(sys.argv[1], "rb").read()))
session = onnxruntime.InferenceSession(sys.argv[2])
print(json.dumps(session.run(["answers"], {"features": x[None].astype(np.float64)})[0][0].tolist()))
"""
DESCRIBED = {"OUTPUT": "answers", "ORIGIN": "test", "LICENSE": "MIT", "TRAINED_ON": "2026-11-01"}


def describe(folder: Path, **values: object) -> None:
    """Write values into task/given.py."""
    path = folder / "src/scratch_detector/task/given.py"
    text = path.read_text()
    for name, value in values.items():
        text, count = re.subn(rf"(?m)^({name}\b.*?=) .*?(?=  #|$)", rf"\1 {value!r}", text, count=1)
        assert count == 1, name
    path.write_text(text)


def bring(folder: Path) -> None:
    """Make a model elsewhere, and run the pipeline with it."""
    done(run_in(folder, "git", "init", "-q", "-b", "main"))
    done(run_in(folder, "python", "-c", FIRST))
    model = folder / "src/scratch_detector/task/model.onnx"
    names = ast.literal_eval(done(run_in(folder, "python", str(MAKE_MODEL), str(model))))
    describe(folder, **DESCRIBED, **({"LABELS": names} if names else {}))
    for path in (folder / "src/scratch_detector/task").glob("sample_model.py"):
        path.unlink()
    done(run_in(folder, "python", "-m", "scratch_detector", "deps"))
    printed = done(run_in(folder, "python", "-c", REST))
    assert re.search(r"All 2\d limits met\.", printed)
    done(run_in(folder, "python", "-c", EXAMPLE))


@pytest.fixture
def brought(render: Render, shared: Shared) -> Path:
    """A table project with a model made elsewhere, which meets its limits."""
    answers = {"modality": "tabular", "target": "cloud", "framework": "onnx"}
    return shared("brought", render(**answers), bring)


def ask_the_file(folder: Path) -> list[float]:
    """Return what the given file answers for the example, in its own order."""
    (example,) = (folder / "data").glob("example.*")
    model = "src/scratch_detector/task/model.onnx"
    printed = done(run_in(folder, "python", "-c", ANSWER, str(example), model))
    answers: list[float] = json.loads(printed)
    return answers


@pytest.mark.long
def test_the_served_answers_are_those_of_the_given_file(brought: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(brought, folder, symlinks=True)
    (second,) = ask_the_file(folder)  # the probability of the second of its labels, "fraud"
    done(run_in(folder, "python", "-c", ONLY_FLOAT32))
    release(folder)
    with serving(folder, command="serve") as server:
        said = json.loads(server.ask("/predict", server.payload).body)
    expected = "fraud" if second > 0.5 else "legitimate"
    assert said["label"] == expected
    assert said["confidence"] == pytest.approx(max(second, 1 - second), abs=1e-5)
    card = (folder / "docs/card.md").read_text()
    assert "Made from `model.onnx`, SHA-256 `" in card and "Licence of the weights: MIT." in card
    assert "dated 2026-11-01" in card and "Trained on" not in card
    page = (folder / "reports/report.html").read_text()
    assert 'id="training"' not in page and "<dt>Dated</dt><dd>2026-11-01</dd>" in page
    stages = (folder / "dvc.yaml").read_text()
    assert "models/model.pt" not in stages and "reports/train.json" not in stages


def test_no_requirement_of_such_a_project_is_pytorch(render: Render) -> None:
    folder = render(modality="image", target="hybrid", framework="onnx", torch_source="cpu")
    assert "torch" not in (folder / "pyproject.toml").read_text()
    assert "torch" in (render().joinpath("pyproject.toml")).read_text()


@pytest.mark.long
def test_the_pipeline_runs_without_pytorch(brought: Path, tmp_path: Path) -> None:
    """In an environment that has exactly the packages of the project."""
    folder = tmp_path / "repo"
    shutil.copytree(brought, folder, symlinks=True)
    place = environment(requirements(folder, "train"))
    python = str(place / "bin/python")
    missing = run_in(folder, python, "-c", "import torch")
    assert missing.returncode == 1 and "No module named 'torch'" in missing.stderr
    env = variables(folder, place) | {"PATH": f"{place}/bin:/usr/bin:/bin"}
    run = (
        "from scratch_detector.cli import run; [run(n) for n in ('adopt', 'compress', 'evaluate')]"
    )
    done(run_in(folder, python, "-c", run, **env))


@pytest.mark.long
def test_the_tests_of_the_project_pass(brought: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(brought, folder, symlinks=True)
    tests = ("pipeline/test_adopt.py", "pipeline/test_report.py", "problem", "test_dvc.py")
    done(run_in(folder, "python", "-m", "pytest", "-q", "-x", *(f"tests/{name}" for name in tests)))


@pytest.mark.matrix
@pytest.mark.parametrize("problem", ["classification", "regression"])
@pytest.mark.parametrize(("modality", "target"), [("image", "edge"), ("audio", "hybrid")])
def test_a_made_up_model_stands_in(
    render: Render, tmp_path: Path, modality: str, target: str, problem: str
) -> None:
    folder = tmp_path / "repo"
    answers = {"modality": modality, "target": target, "problem": problem, "framework": "onnx"}
    shutil.copytree(render(**answers), folder)
    done(run_in(folder, "git", "init", "-q", "-b", "main"))
    assert " limits met." in done(run_in(folder, "python", "-c", f"{FIRST}\n{REST}"))
    tests = ("python", "-m", "pytest", "-q", "tests/pipeline", "tests/problem", "tests/test_dvc.py")
    done(run_in(folder, *tests))


@pytest.mark.matrix
def test_a_number_of_a_given_file_is_served(render: Render, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    answers = {"modality": "tabular", "target": "cloud", "problem": "regression"}
    shutil.copytree(render(**answers, framework="onnx"), folder)
    bring(folder)
    release(folder)
    with serving(folder, command="serve") as server:
        said = json.loads(server.ask("/predict", server.payload).body)
    (expected,) = ask_the_file(folder)
    assert said["value"] == pytest.approx(expected, rel=0.05) and said["low"] < said["value"]


PAGE = (ROOT / "docs/your-model.md").read_text()
BEFORE = {
    "PyTorch": """
import sys, torch
from scratch_detector.pipeline.splits import load_split
input_shape = load_split("train")[0].shape[1:]
torch.manual_seed(0)
layers = torch.nn.Linear(*input_shape, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)
model = torch.nn.Sequential(*layers)
""",
    "scikit-learn": """
import pathlib, sys
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from scratch_detector.pipeline.splits import load_head, load_split
x_train, y, _ = load_split("train")
labels = [load_head().labels[i] for i in y]
pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0))
pipeline.fit(x_train, labels)
print(pipeline.classes_.tolist())
""",
}


@pytest.mark.long
@pytest.mark.parametrize("name", BEFORE)
def test_the_exporters_of_the_page_write_files_that_are_adopted(
    name: str, brought: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(brought, folder, symlinks=True)
    code = re.findall(rf"(?s)\n{name}.*?```python\n(.*?)```", PAGE)[0]
    task = folder / "src/scratch_detector/task"
    script = folder / "export.py"
    script.write_text(BEFORE[name] + code.replace('"best.onnx"', repr(str(task / "model.onnx"))))
    if name == "scikit-learn":
        place = environment([*requirements(folder, "train"), "skl2onnx"])
        env = variables(folder, place)
        printed = done(run_in(folder, str(place / "bin/python"), str(script), **env))
        describe(folder, OUTPUT="probabilities", LABELS=ast.literal_eval(printed.splitlines()[-1]))
    else:
        done(run_in(folder, "python", str(script)))
        describe(folder, OUTPUT="", LABELS=["fraud", "legitimate"])
    done(run_in(folder, "python", "-m", "scratch_detector", "adopt"))
    made = json.loads((folder / "reports/export.json").read_text())
    assert made["max_difference"] < 1e-5
