"""Load and store models of Keras."""

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import keras
import numpy as np

from ..artifacts import CHECKPOINT
from ..problem.answer import Head
from ..refusal import Refusal
from ..task import given
from ..task import model as task_model
from .splits import require_head

FILE = Path(str(given.__file__)).with_name("model.keras")  # a trained model that a team brings
FACTS = "facts.json"  # in the checkpoint, which is a ZIP file
OWN = task_model.__name__  # importing it registers layers of your own


def load_given(path: Path) -> keras.Model:
    """Return a trained model. Keras runs no code of the file in safe mode, its default.

    Raises:
        Refusal: it is damaged, needs code that Keras does not know, or has several inputs.
    """
    try:
        model = keras.saving.load_model(path, compile=False)
        shapes = model.input_shape, model.output_shape
    except Exception as error:  # zipfile, h5py and Keras raise any exception
        why = str(error).strip().splitlines()[0][:200]
        rule = (
            f"a model that `model.save` of Keras 3 wrote, whose own layers are in {OWN} with"
            f" `@keras.saving.register_keras_serializable()` ({why})"
        )
        raise Refusal("model", path.name, rule, "model.keras") from None
    if any(isinstance(shape, list | dict) for shape in shapes):
        raise Refusal("inputs and outputs of the model", shapes, "one of each", "(None, 10)")
    return model


def check_shapes(model: keras.Model, shape: tuple[int, ...], head: Head) -> None:
    """Compare the shapes of the model with those of the features and of the answers.

    Raises:
        Refusal: they differ; a network for two labels may have one output.
    """
    expected = model.input_shape[1:]
    sizes = zip(expected, shape, strict=False)
    if len(expected) != len(shape) or any(a not in (None, b) for a, b in sizes):
        rule = f"the shape of the model's input, {list(expected)}; edit features() or the model"
        raise Refusal("shape of features() in task/features.py", list(shape), rule, list(expected))
    found = model.output_shape[1:]
    allowed = [(head.width,)] + [(1,)] * (len(head.names) == 2)
    if found not in allowed:
        rule = f"{head.width} per example, as the data has; end it in `layers.Dense(classes)`"
        raise Refusal("outputs of the model", list(found), rule, [head.width])


def predict(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Return the outputs (n, outputs) of the model for features (n, ...)."""
    return np.asarray(model.predict(x, verbose=0))


def save_checkpoint(model: keras.Model, facts: dict[str, Any]) -> None:
    """Write the model, and what the ONNX file has to say about it."""
    CHECKPOINT.parent.mkdir(parents=True, exist_ok=True)
    CHECKPOINT.unlink(missing_ok=True)
    draft = CHECKPOINT.with_name(f".{CHECKPOINT.name}")  # Keras requires this ending
    model.save(draft)
    with ZipFile(draft, "a") as file:
        file.writestr(FACTS, json.dumps(facts))
    draft.replace(CHECKPOINT)


def load_checkpoint() -> tuple[keras.Model, dict[str, Any]]:
    """Return the trained model, and the facts about it.

    Raises:
        SystemExit: the checkpoint is missing, or belongs to another network, or to other labels.
    """
    try:
        model = load_given(CHECKPOINT)
        with ZipFile(CHECKPOINT) as file:
            facts = json.loads(file.read(FACTS))
        head = Head.model_validate(facts)
    except (OSError, ValueError, KeyError, Refusal) as error:
        words = f"is not a checkpoint of this model ({str(error).splitlines()[0]})"
        raise SystemExit(f"{CHECKPOINT} {words}. Run the train stage.") from None
    require_head(CHECKPOINT, head)
    return model, facts
