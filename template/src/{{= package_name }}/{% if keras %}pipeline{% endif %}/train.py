"""Train the network of task/model.py, or take in a trained one; fit the baseline to beat."""

import time
from hashlib import sha256
from importlib import import_module
from typing import Any

import keras
import numpy as np
import torch

from ..artifacts import FEATURES, refuse_other_labels, write_report
from ..problem.answer import Head
from ..problem.learning import choose_loss, finish
from ..problem.targets import to_targets
from ..refusal import Refusal
from ..schema import SCHEMA, load_schema
from ..scope import load_params, load_scope
from ..task import given
from ..task.features import FEATURES_VERSION
from ..task.model import build_model
from .keras_model import FILE, check_shapes, load_given, save_checkpoint
from .linear import write_baseline
from .splits import load_head, load_split

# PyTorch's default for AdamW (Loshchilov and Hutter 2019, "Decoupled weight decay regularization").
WEIGHT_DECAY = 1e-2
MODULE = "task/training.py"
Arrays = tuple[np.ndarray, np.ndarray]  # inputs (n, ...) and targets (n, ...)


def train() -> None:
    """Write the checkpoint and the baseline.

    Raises:
        SystemExit: the model cannot be used; the message says what to change.
    """
    params, head = load_params(), load_head()
    refuse_other_labels(SCHEMA, load_schema().labels, FEATURES, head.names)
    keras.utils.set_random_seed(params.seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(params.training_threads)
    x, truth, _ = load_split("train")
    try:
        model, made = _take_in(x, head) if FILE.exists() else _fit(x, truth, head)
    except Refusal as error:
        raise SystemExit(f"The model cannot be used. {error}") from None
    facts = head.model_dump() | {"features_version": FEATURES_VERSION, "trained_at": time.time()}
    save_checkpoint(model, facts | {"is_given": FILE.exists()})
    write_baseline(head)
    known = {"examples": len(x), "parameters": int(model.count_params())}
    write_report("train", facts | known | made)


def _fit(x: np.ndarray, truth: np.ndarray, head: Head) -> tuple[keras.Model, dict[str, Any]]:
    """Return the trained model, and facts for the report."""
    params = load_params()
    model = build_model(x.shape[1:], head.width)
    check_shapes(model, x.shape[1:], head)
    if not model.compiled:
        optimizer = keras.optimizers.AdamW(params.learning_rate, weight_decay=WEIGHT_DECAY)
        model.compile(optimizer, choose_loss(load_scope()))
    held_out, answers, _ = load_split("validation")
    training, validation = (x, to_targets(truth, head)), (held_out, to_targets(answers, head))
    own = _load_own()
    history = (own or fit)(model, training, validation, params.epochs, params.batch_size)
    losses = {"training_loss": "loss", "validation_loss": "val_loss"}
    try:
        curve = {name: list(map(float, history.history[key])) for name, key in losses.items()}
    except (AttributeError, KeyError, TypeError):
        rule = "the history that model.fit returns, with validation_data=validation"
        found = type(history).__name__
        raise Refusal(f"fit in {MODULE}", found, rule, "return model.fit(...)") from None
    if not np.isfinite(curve["validation_loss"]).any():
        raise SystemExit("Training diverged: lower learning_rate in params.yaml, like 0.001.")
    notes = [f"Trained with `fit` of `{MODULE}`."] if own else []
    best = 1 + int(np.nanargmin(curve["validation_loss"]))
    return finish(model, head), {"best_epoch": best, "curve": curve, "notes": notes}


def fit(
    model: keras.Model, training: Arrays, validation: Arrays, epochs: int, batch_size: int
) -> keras.callbacks.History:
    """Train the model, and leave the weights of the epoch with the lowest validation loss."""
    best = keras.callbacks.EarlyStopping(patience=epochs, restore_best_weights=True)
    return model.fit(
        *training,
        batch_size,
        epochs,
        verbose=2,  # one line per epoch
        callbacks=[best],
        validation_data=validation,
    )


def _load_own() -> Any:
    """Return `fit` of `task/training.py`, or None."""
    try:
        return getattr(import_module("..task.training", __package__), "fit", None)
    except ModuleNotFoundError as error:
        if not str(error.name).endswith(".task.training"):
            raise  # a package that the file imports
        return None


def _take_in(x: np.ndarray, head: Head) -> tuple[keras.Model, dict[str, Any]]:
    """Return the model of `task/model.keras`, and sentences about it for the model card."""
    model = load_given(FILE)
    check_shapes(model, x.shape[1:], head)
    digest = sha256(FILE.read_bytes()).hexdigest()
    unstated = "not stated ({} in task/given.py)"
    origin = [
        f"Made from `{FILE.name}`, SHA-256 `{digest}`.",
        f"Origin: {given.ORIGIN or unstated.format('ORIGIN')}. Licence of the weights:"
        f" {given.LICENSE or unstated.format('LICENSE')}.",
        "It was not trained here: the quality holds only if the held-out examples were not among"
        " those that it was trained on.",
    ]
    return model, {"origin": origin}
