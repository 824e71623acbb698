"""The Python of docs/training.md trains and exports: network, augmentation, pretrained weights."""

import json
import re
import shutil
from pathlib import Path

import pytest

from repository import done, run_in

pytestmark = pytest.mark.long
PRELUDE = "import math\nfrom pathlib import Path\n\nimport torch\nfrom torch import nn\n\n\n"
# Records what `augment` saw, and makes it useless for anything but training.
RECORD = """    with open("seen.txt", "a") as file:
        print(hashlib.sha256(x.tobytes()).hexdigest(), file=file)
"""
SPLITS = """
import hashlib, json
from scratch_detector.pipeline.splits import load_split
found = {name: load_split(name)[0] for name in ("train", "validation", "test")}
hash = lambda x: hashlib.sha256(x.tobytes()).hexdigest()
print(json.dumps({name: [*map(hash, arrays)] for name, arrays in found.items()}))
"""
USES = """
from pathlib import Path
from scratch_detector.cli import run
from scratch_detector.pipeline import compress, quantize
compress.variants = lambda: {"fp32": quantize.fp32, "int8_minmax": quantize.int8_minmax}
[run(name) for name in ("export", "compress", "evaluate")]
"""
BACKBONE = """
class Backbone(nn.Module):
    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.body = nn.LazyLinear(width)
        self.head = nn.Linear(width, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.body(x)))


def my_backbone() -> Backbone:
    backbone = Backbone()
    backbone(torch.zeros(1, INPUTS))
    return backbone


"""
SAVE = """
import torch
from scratch_detector.task.model import my_backbone
torch.save(my_backbone().state_dict(), "src/scratch_detector/task/backbone.pt")
"""
INPUTS = """
from scratch_detector.pipeline.splits import load_split
print(load_split("train")[0].shape[1])
"""
STAGES = "from scratch_detector.cli import run; run('train'); run('export')"


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "repo", symlinks=True))


def blocks(project: Path) -> list[str]:
    """The Python of the guide: a network, `task/training.py`, pretrained weights."""
    text = (project / "docs/training.md").read_text()
    found = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(found) == 3
    return found


def export(project: Path, model: str) -> float:
    """Train and export a network; return its largest difference from PyTorch."""
    (project / "src/scratch_detector/task/model.py").write_text(PRELUDE + model)
    done(run_in(project, "python", "-c", STAGES))
    report = json.loads((project / "reports/export.json").read_text())
    return float(report["max_difference"])


def test_functions_of_the_guide_change_the_training_only(project: Path) -> None:
    _, training, _ = blocks(project)
    start = '    """Change one training example; x is what `features()` returns."""\n'
    recorded = training.replace(start, start + RECORD).replace(
        "import numpy", "import hashlib\n\nimport numpy", 1
    )
    assert RECORD in recorded
    (project / "src/scratch_detector/task/training.py").write_text(recorded)
    done(run_in(project, "python", "-c", "from scratch_detector.cli import run; run('train')"))
    report = json.loads((project / "reports/train.json").read_text())
    used = "augment, loss, optimizer, sample_weights"
    assert report["notes"] == [f"Trained with functions of `task/training.py`: {used}."]
    hashes = json.loads(done(run_in(project, "python", "-c", SPLITS)))
    seen = (project / "seen.txt").read_text().split()
    assert set(seen) <= set(hashes["train"]) and len(set(seen)) > len(hashes["train"]) / 3
    assert not set(seen) & {*hashes["validation"], *hashes["test"]}
    done(run_in(project, "python", "-c", USES))
    assert (project / "seen.txt").read_text().split() == seen


def test_a_function_with_another_name_is_an_error(project: Path) -> None:
    path = project / "src/scratch_detector/task/training.py"
    path.write_text("def optimiser(model, learning_rate):\n    return None\n")
    result = run_in(project, "python", "-m", "scratch_detector", "train")
    assert result.returncode == 1 and "task/training.py: got optimiser; " in result.stderr
    path.write_text("import not_installed\n")
    result = run_in(project, "python", "-m", "scratch_detector", "train")
    assert "No module named 'not_installed'" in result.stderr


@pytest.mark.parametrize(
    ("function", "got"),
    [
        ("def augment(x, rng):\n    return x[:1]\n", "augment in task/training.py: got (1"),
        (
            "def sample_weights(targets):\n    return targets * 0.0\n",
            "sample_weights in task/training.py: got an array of shape (",
        ),
        (
            "def loss(scores, targets):\n    return scores.sum(dim=1)\n",
            "loss in task/training.py: got (",
        ),
        ("def loss(scores, targets):\n    return 0.5\n", "loss in task/training.py: got float; "),
        (
            "def optimizer(model, learning_rate):\n    return None\n",
            "optimizer in task/training.py: got NoneType; ",
        ),
    ],
    ids=["augment", "sample_weights", "losses", "float", "optimizer"],
)
def test_a_function_that_returns_something_else_is_an_error(
    function: str, got: str, project: Path
) -> None:
    (project / "src/scratch_detector/task/training.py").write_text(function)
    result = run_in(project, "python", "-m", "scratch_detector", "train")
    assert result.returncode == 1 and got in result.stderr


def test_frozen_parts_stay_as_they_were(project: Path) -> None:
    frozen = """
def build_model(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    torch.manual_seed(3)
    size = math.prod(input_shape)
    body = nn.Sequential(nn.Flatten(), nn.Linear(size, 32), nn.BatchNorm1d(32))
    return nn.Sequential(body.requires_grad_(False), nn.ReLU(), nn.Linear(32, classes))
"""
    assert export(project, frozen) < 1e-4
    code = """
import torch
from scratch_detector.pipeline.train import load_checkpoint
from scratch_detector.task.model import build_model
model, content = load_checkpoint()
fresh = build_model(tuple(content["input_shape"]), model[-1].out_features)
pairs = zip(model.state_dict().values(), fresh.state_dict().values())
print([bool((trained == built).all()) for trained, built in pairs])
"""
    same = done(run_in(project, "python", "-c", code)).split("[")[-1]
    assert same.count("True") == 7 and same.count("False") == 2


def test_pretrained_weights_in_task_are_loaded_and_watched(project: Path) -> None:
    *_, pretrained = blocks(project)
    inputs = done(run_in(project, "python", "-c", INPUTS)).strip()
    model = BACKBONE.replace("INPUTS", inputs) + pretrained
    path = project / "src/scratch_detector/task/model.py"
    path.write_text(PRELUDE + model)
    done(run_in(project, "python", "-c", SAVE))
    assert export(project, model) < 1e-4
    done(run_in(project, "python", "-m", "scratch_detector", "deps"))
    watched = (project / "dvc.yaml").read_text()
    assert watched.count("${src}/task/backbone.pt") > 2
