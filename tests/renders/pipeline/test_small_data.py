"""A user's first hour with 120 photos: errors name everything, and the tests of the render pass."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from conftest import Render
from repository import commit_files, done, run_in

SPOTS = {"healthy": None, "rust": ((220, 120, 30), 12), "spots": ((20, 20, 20), 8)}
# Tests that read the data, or what was trained on it; the others are the same in each project.
OF_DATA = ["decoding", "pipeline", "problem", "releases", "retraining", "serving", "splitting"]
OF_DATA = [f"tests/{name}" for name in (*OF_DATA, "task", "test_data.py", "test_gates.py")]
SETTINGS = {
    "params.yaml": {"epochs": 60, "batch_size": 16},
    "scope.yaml": {"baseline": "majority", "min_metric": 0.85},
}
UNTYPED = """from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.last = nn.Linear(3, classes)

    def forward(self, x):
        return self.last(x.mean((2, 3)))


def build_model(input_shape, classes):
    return Net(classes)
"""
UNTYPED_TEST = """from scratch_detector.task.model import build_model


def test_our_network(tmp_path):
    assert build_model((3, 8, 8), 2).last.out_features == 2
"""


@pytest.fixture
def project(render: Render, tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    shutil.copytree(render(modality="image", target="cloud"), folder)
    for name, values in SETTINGS.items():
        for key, value in values.items():
            path = folder / name
            path.write_text(re.sub(rf"(?m)^({key}:) \S+", rf"\1 {value}", path.read_text()))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    for i in range(120):
        label = list(SPOTS)[i % 3]
        leaf = np.array([60, 130, 50]) + rng.normal(0, 10, 3) + rng.normal(0, 8, (96, 96, 3))
        image = Image.fromarray(leaf.clip(0, 255).astype(np.uint8))
        if spot := SPOTS[label]:
            colour, size_px = spot
            for x, y in rng.integers(10, 80, (int(rng.integers(2, 6)), 2)):
                box = (int(x), int(y), int(x) + size_px, int(y) + size_px)
                ImageDraw.Draw(image).ellipse(box, fill=colour)
        path = tmp_path / "photos" / label / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return tmp_path / "photos"


def ingest(project: Path) -> subprocess.CompletedProcess[str]:
    return run_in(project, "python", "-m", "scratch_detector", "ingest", "../photos")


def test_rejected_ingest_names_all_problems_and_the_data_that_stays(
    project: Path, photos: Path
) -> None:
    (photos / "Thumbs.db").write_text("x")
    (photos / "rust" / "notes.txt").write_text("x")
    (photos / "rust" / "broken.jpg").write_text("x")
    Image.new("RGB", (64, 64), (90, 120, 60)).save(photos / "spots" / "flat.jpg")
    (photos / "mould").mkdir()
    shutil.copy(photos / "rust" / "1.jpg", photos / "mould" / "1.jpg")
    rejected = ingest(project)
    assert rejected.returncode == 1
    lines = rejected.stderr.splitlines()
    assert lines[0].startswith("Nothing was ingested. 2 files are not usable (every file must be ")
    assert lines[1:3] == ["  ../photos/Thumbs.db", "  ../photos/rust/notes.txt"]
    assert lines[3] == "2 of 123 examples are unusable, like:"
    assert "rust/broken.jpg: payload: got" in lines[4]
    assert "spots/flat.jpg: contrast: got" in lines[5]
    assert lines[6].endswith(
        "edit the limits of contrast in src/scratch_detector/task/contract.py."
    )
    assert lines[7:] == [
        "label mould: 1 of at least 20 examples; add 19 more",
        "`make model` would still use the previous data: made-up sample.",
    ]


def test_rejects_a_network_with_too_few_outputs(project: Path, photos: Path) -> None:
    assert "healthy 40, rust 40, spots 40" in done(ingest(project))
    model = project / "src/scratch_detector/task/model.py"
    before = "nn.Linear(4 * width, classes)"
    assert before in model.read_text()
    model.write_text(model.read_text().replace(before, "nn.Linear(4 * width, 2)"))
    for stage in ("validate", "featurize"):
        done(run_in(project, "python", "-m", "scratch_detector", stage))
    stopped = run_in(project, "python", "-m", "scratch_detector", "train")
    assert stopped.returncode == 1 and "Traceback" not in stopped.stderr
    words = (
        "build_model in task/model.py returns a network with 2 outputs, but the data has 3 labels"
    )
    assert words in stopped.stderr


def test_task_needs_neither_docstrings_nor_annotations(project: Path) -> None:
    (project / "src/scratch_detector/task/model.py").write_text(UNTYPED)
    (project / "tests/task/test_our_network.py").write_text(UNTYPED_TEST)
    hook = (project / ".pre-commit-config.yaml").read_text()
    assert "uv run ruff check" in hook, "the hook uses the rules of pyproject.toml"
    yours = ("src/scratch_detector/task", "tests/task")
    for command in (("ruff", "format", "--check", *yours), ("ruff", "check", *yours), ("mypy",)):
        done(run_in(project, *command))
    # Other files keep the rules, and annotations in task/ are checked.
    place = project / "src/scratch_detector/problem/metrics.py"
    place.write_text(
        place.read_text() + "\n\nclass Net:\n    def run(self, x):\n        return x\n"
    )
    model = project / "src/scratch_detector/task/model.py"
    model.write_text(UNTYPED + '\n\nWIDTH: int = "wide"\n')
    assert "D101" in run_in(project, "ruff", "check").stdout
    found = run_in(project, "mypy").stdout
    assert "metrics.py" in found and "Incompatible types" in found


@pytest.mark.matrix
def test_tests_of_the_render_pass_on_few_photos(project: Path, photos: Path) -> None:
    commit_files(project)
    done(ingest(project))
    printed = done(run_in(project, "make", "model"))
    assert "Data: ../photos, 120 examples\npass  " in printed
    done(run_in(project, "python", "-m", "pytest", "-q", *OF_DATA))
