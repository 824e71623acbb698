"""The Python of docs/training.md trains and exports: network, augmentation, pretrained weights."""

import json
import re
import shutil
from pathlib import Path

import pytest

from repository import done, run_in

pytestmark = pytest.mark.long
PRELUDE = "import math\nfrom pathlib import Path\n\nimport torch\nfrom torch import nn\n\n\n"
AUGMENTED = """


def build_model(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(Augment(), build_plain(input_shape, classes))
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
    """The Python of the guide: a network, augmentation, pretrained weights."""
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


def test_augmentation_is_active_in_training_only(project: Path) -> None:
    network, augment, _ = blocks(project)
    plain = network.replace("def build_model", "def build_plain")
    assert export(project, augment + "\n\n" + plain + AUGMENTED) < 1e-4
    assert b"RandomNormal" not in (project / "models/model.onnx").read_bytes()


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
