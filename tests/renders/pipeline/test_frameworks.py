"""Projects with Keras and with Lightning: trained, or brought along, and served."""

import json
import re
import shutil
from pathlib import Path

import pytest

from conftest import Render, Shared
from environment import environment, requirements, variables
from repository import done, run_in
from server import release, serving

PIPELINE = (
    "from scratch_detector.cli import STAGES, run; [run(n) for n in (*STAGES, 'card', 'example')]"
)
BOTH = "from scratch_detector.cli import run; [run(n) for n in ('train', 'export')]"
TABLE = {"modality": "tabular", "target": "cloud"}
TASK = Path("src/scratch_detector/task")


def run_python(folder: Path, *arguments: str) -> str:
    return done(run_in(folder, "python", *arguments))


def run_alone(folder: Path, *arguments: str) -> str:
    """Run Python where only the packages of the project are, and pytest."""
    place = environment([*requirements(folder, "serve", "train"), "pytest>=8.3"])
    env = variables(folder, place) | {"PATH": f"{place}/bin:/usr/bin:/bin"}
    return done(run_in(folder, str(place / "bin/python"), *arguments, **env))


def make(folder: Path) -> None:
    done(run_in(folder, "git", "init", "-q", "-b", "main"))
    assert " limits met." in run_python(folder, "-c", PIPELINE)


def copy(source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "repo", symlinks=True))


def blocks(folder: Path) -> list[str]:
    text = (folder / "docs/training.md").read_text()
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def report(folder: Path, name: str) -> dict:  # type: ignore[type-arg]
    return dict(json.loads((folder / f"reports/{name}.json").read_text()))


@pytest.fixture
def keras_project(render: Render, shared: Shared) -> Path:
    """A table project with a network that Keras trained, which meets its limits."""
    return shared("keras", render(**TABLE, framework="keras"), make)


@pytest.fixture
def lightning_project(render: Render, shared: Shared) -> Path:
    """A table project with a network that Lightning trained, which meets its limits."""
    return shared("lightning", render(**TABLE, framework="lightning"), make)


# Keras

ASK = """
import glob, json, sys
import scratch_detector.framework
import keras, numpy as np
from scratch_detector.task.features import decode, features
(example,) = glob.glob("data/example.*")
x = features(decode(open(example, "rb").read()))
model = keras.saving.load_model(sys.argv[1], compile=False)
print(json.dumps(np.asarray(model.predict(x[None], verbose=0))[0].tolist()))
"""
# A network that was trained elsewhere: the labels in another order, and a softmax at the end.
ELSEWHERE = """
import scratch_detector.framework
import keras
from keras import layers
from scratch_detector.pipeline.splits import load_split
keras.utils.set_random_seed(3)
x, y, _ = load_split("train")
model = keras.Sequential([
    keras.Input(x.shape[1:]), layers.Dense(64, "relu"), layers.Dense(64, "relu"),
    layers.Dense(2, "softmax"),
])
model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
model.fit(x, 1 - y, 64, epochs=12, verbose=0)
model.save("src/scratch_detector/task/model.keras")
"""
DAMAGED = """
import scratch_detector.framework
import keras, numpy as np, sys
from keras import layers
from scratch_detector.pipeline.splits import load_split
end = layers.Dense(2)
if sys.argv[1] == "code":
    end = layers.Lambda(lambda x: x[:, :2], output_shape=(2,))
width = 3 if sys.argv[1] == "input" else load_split("test")[0].shape[1]
model = keras.Sequential([keras.Input((width,)), layers.Dense(4), end])
if sys.argv[1] == "outputs":
    model.add(layers.Dense(3))
if sys.argv[1] == "nan":
    model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
model.save("src/scratch_detector/task/model.keras")
"""
WEIGHTS = """
import hashlib, scratch_detector.framework
from scratch_detector.cli import run
{first}
from scratch_detector.pipeline.{module} import load_checkpoint
model, _ = load_checkpoint()
arrays = {arrays}
print("weights", hashlib.sha256(b"".join(each.tobytes() for each in arrays)).hexdigest())
"""
ARRAYS = {
    "keras": ("keras_model", "model.get_weights()"),
    "lightning": ("train", "[each.numpy() for each in model.state_dict().values()]"),
}


@pytest.mark.long
def test_the_served_answers_are_those_of_keras(keras_project: Path, tmp_path: Path) -> None:
    folder = copy(keras_project, tmp_path)
    logits = json.loads(run_python(folder, "-c", ASK, "models/model.keras"))
    release(folder)
    with serving(folder, command="serve") as server:
        said = json.loads(server.ask("/predict", server.payload).body)
    assert said["label"] == ["fraud", "legitimate"][logits.index(max(logits))]
    assert "Epoch" not in (folder / "docs/card.md").read_text()
    assert 'id="training"' in (folder / "reports/report.html").read_text()
    assert report(folder, "export")["max_difference"] < 1e-5


@pytest.mark.long
@pytest.mark.parametrize("framework", ["keras", "lightning"])
def test_the_same_seed_gives_the_same_weights(
    framework: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = copy(request.getfixturevalue(f"{framework}_project"), tmp_path)
    module, arrays = ARRAYS[framework]
    code = [WEIGHTS.format(module=module, arrays=arrays, first=f) for f in ("", "run('train')")]
    before, after = (run_python(folder, "-c", each).splitlines()[-1] for each in code)
    assert before == after and before.startswith("weights ")


@pytest.mark.matrix
@pytest.mark.parametrize("framework", ["keras", "lightning"])
def test_the_tests_of_the_project_pass(
    framework: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = copy(request.getfixturevalue(f"{framework}_project"), tmp_path)
    names = ["pipeline/test_train.py"]  # the rest is the same as with PyTorch
    if framework == "keras":
        names = ["pipeline/test_report.py", "problem", "test_layers.py"]
    run_python(folder, "-m", "pytest", "-q", "-x", *(f"tests/{name}" for name in names))


@pytest.mark.long
def test_a_network_trained_elsewhere_answers_the_same(keras_project: Path, tmp_path: Path) -> None:
    folder = copy(keras_project, tmp_path)
    run_python(folder, "-c", ELSEWHERE)
    path = folder / TASK / "given.py"
    refused = run_in(folder, "python", "-c", BOTH)
    assert refused.returncode == 1 and "LABELS in task/given.py: got []" in refused.stderr
    path.write_text(path.read_text().replace("= []", '= ["fraud", "legit"]', 1))
    assert "but ['legitimate'] are missing" in run_in(folder, "python", "-c", BOTH).stderr
    named = path.read_text().replace('["fraud", "legit"]', '["legitimate", "fraud"]')
    path.write_text(named.replace('ORIGIN = ""', 'ORIGIN = "risk team"'))
    run_python(folder, "-c", PIPELINE)
    legitimate, fraud = json.loads(run_python(folder, "-c", ASK, str(TASK / "model.keras")))
    assert legitimate + fraud == pytest.approx(1, abs=1e-5)
    release(folder)
    with serving(folder, command="serve") as server:
        said = json.loads(server.ask("/predict", server.payload).body)
    assert said["label"] == ("fraud" if fraud > legitimate else "legitimate")
    assert said["confidence"] == pytest.approx(max(legitimate, fraud), abs=2e-2)  # a variant
    assert report(folder, "export")["max_difference"] < 1e-5
    card = (folder / "docs/card.md").read_text()
    assert "Made from `model.keras`, SHA-256 `" in card and "Origin: risk team." in card
    before = report(folder, "train")
    run_python(folder, "-c", BOTH)
    assert "curve" not in before and before["origin"] == report(folder, "train")["origin"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("not a model", "model: got 'model.keras'; a model that `model.save` of Keras 3 wrote"),
        ("code", "model: got 'model.keras'; a model that `model.save` of Keras 3 wrote"),
        ("input", "shape of features() in task/features.py: got ["),
        ("outputs", "outputs of the model: got [3]; 2 per example"),
        ("nan", "finite weights"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused(
    fault: str, words: str, keras_project: Path, tmp_path: Path
) -> None:
    folder = copy(keras_project, tmp_path)
    (folder / "models/model.onnx").unlink()
    if fault == "not a model":
        (folder / TASK / "model.keras").write_bytes(b"PK not a model")
    else:
        run_python(folder, "-c", DAMAGED, fault)
    path = folder / TASK / "given.py"
    path.write_text(path.read_text().replace("= []", '= ["fraud", "legitimate"]', 1))
    result = run_in(folder, "python", "-c", BOTH)
    assert result.returncode == 1 and words in result.stderr, result.stderr[-1500:]
    assert not (folder / "models/model.onnx").exists()


@pytest.mark.long
def test_the_code_of_the_keras_guide_works(keras_project: Path, tmp_path: Path) -> None:
    folder = copy(keras_project, tmp_path)
    model, training = blocks(folder)
    (folder / TASK / "model.py").write_text(model)
    (folder / TASK / "training.py").write_text(training)
    run_python(folder, "-c", BOTH)
    made = report(folder, "train")
    assert made["notes"] == ["Trained with `fit` of `task/training.py`."]
    assert report(folder, "export")["max_difference"] < 1e-5
    (folder / TASK / "training.py").write_text("def fit(*arguments):\n    return None\n")
    result = run_in(folder, "python", "-c", BOTH)
    assert "fit in task/training.py: got 'NoneType'; the history that model.fit" in result.stderr


# Lightning

OWN = """
import torch
from lightning import LightningModule
from torch import nn


class Own(LightningModule):
    def __init__(self, inputs, classes):
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, classes))

    def forward(self, x):
        return self.layers(x)

    def training_step(self, batch, index):
        x, y = batch
        loss = nn.functional.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return {"loss": loss}

    def validation_step(self, batch, index):
        x, y = batch
        self.log("val_loss", nn.functional.cross_entropy(self(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def build_model(input_shape, classes):
    return Own(input_shape[0], classes)
"""


@pytest.mark.long
def test_a_lightning_module_of_ones_own_is_trained_and_exported(
    lightning_project: Path, tmp_path: Path
) -> None:
    folder = copy(lightning_project, tmp_path)
    model = folder / TASK / "model.py"
    model.write_text(OWN)
    printed = run_python(folder, "-c", BOTH)
    assert len(re.findall(r"^Epoch \d+/10, training loss ", printed, re.MULTILINE)) == 10
    curve = report(folder, "train")["curve"]
    assert len(curve["training_loss"]) == len(curve["validation_loss"]) == 10
    assert curve["validation_loss"][-1] < curve["validation_loss"][0]
    assert report(folder, "export")["max_difference"] < 1e-5
    model.write_text(OWN.replace('"val_loss"', '"valid"'))
    result = run_in(folder, "python", "-c", BOTH)
    assert result.returncode == 1 and "; log validation_loss, for example" in result.stderr


@pytest.mark.long
def test_the_code_of_the_lightning_guide_works(lightning_project: Path, tmp_path: Path) -> None:
    folder = copy(lightning_project, tmp_path)
    _, training, _ = blocks(folder)
    path = folder / TASK / "training.py"
    path.write_text(training)
    run_python(folder, "-c", BOTH)
    assert report(folder, "train")["notes"] == [
        "Trained with Lightning and parts of `task/training.py`: Training, make_trainer."
    ]
    assert report(folder, "export")["max_difference"] < 1e-5
    for value, words in {
        "None": "make_trainer in task/training.py: got NoneType; a trainer of Lightning",
        "Trainer(**options)": "the callbacks of its options are missing",
    }.items():
        function = f"def make_trainer(callbacks, **options):\n    return {value}\n"
        path.write_text(f"from lightning import Trainer\n\n\n{function}")
        result = run_in(folder, "python", "-c", BOTH)
        assert result.returncode == 1 and words in result.stderr


# Combinations

COMBINATIONS = [  # with the table for one label above, each pair of framework and other answers
    ("keras", "image", "regression", "edge"),
    ("keras", "audio", "multilabel", "hybrid"),
    ("keras", "tabular", "forecast", "cloud"),
    ("lightning", "audio", "regression", "hybrid"),
    ("lightning", "image", "multilabel", "edge"),
    ("lightning", "tabular", "forecast", "cloud"),
    ("onnx", "image", "multilabel", "cloud"),
    ("onnx", "tabular", "forecast", "edge"),
]


@pytest.mark.matrix
@pytest.mark.parametrize(("framework", "modality", "problem", "target"), COMBINATIONS)
def test_combinations(
    framework: str, modality: str, problem: str, target: str, render: Render, tmp_path: Path
) -> None:
    folder = tmp_path / "repo"
    answers = {"modality": modality, "problem": problem, "target": target}
    shutil.copytree(render(**answers, framework=framework), folder)
    done(run_in(folder, "git", "init", "-q", "-b", "main"))
    assert " limits met." in run_alone(folder, "-c", PIPELINE)
    names = ["pipeline/test_report.py", "problem", "test_dvc.py", "test_layers.py"]
    run_alone(folder, "-m", "pytest", "-q", *(f"tests/{name}" for name in names))


def test_the_deployed_half_needs_no_framework(render: Render) -> None:
    for framework in ("keras", "lightning"):
        project = (render(**TABLE, framework=framework) / "pyproject.toml").read_text()
        deployed, _, rest = project.partition("[dependency-groups]")
        assert not re.search(r'"(torch|keras|lightning)', deployed)
        assert f'"{framework}>=' in rest and '"torch==2.13.*"' in rest


def test_the_cpu_build_can_be_asked_for_with_each_framework(render: Render) -> None:
    for framework in ("keras", "lightning"):
        folder = render(**TABLE, framework=framework, torch_source="cpu")
        assert 'torch = { index = "pytorch-cpu" }' in (folder / "pyproject.toml").read_text()
