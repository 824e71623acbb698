"""Train the network, and the baseline to beat."""

import copy
import math
import pickle
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import nn

from ..artifacts import BASELINE, CHECKPOINT, write_report
from ..schema import SCHEMA, load_schema
from ..scope import load_params, load_scope
from ..task.features import FEATURES_VERSION
from ..task.model import build_model
from .networks import check_outputs
from .splits import load_labels, load_split, require_labels

# On little data, the epochs of `params.yaml` are few steps. Beating a baseline that has not
# converged would prove nothing.
BASELINE_STEPS = 2000
# PyTorch's default for AdamW (Loshchilov and Hutter 2019, "Decoupled weight decay regularization").
WEIGHT_DECAY = 1e-2
Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def train() -> None:
    """Fit the network and the baseline on the training split, with the seed of `params.yaml`."""
    params = load_params()
    labels = require_labels(SCHEMA, load_schema().labels)
    torch.manual_seed(params.seed)
    torch.use_deterministic_algorithms(True)
    x, y, _ = load_split("train")
    model = build_model(x.shape[1:], len(labels))
    check_outputs(model, x, labels)
    curve = fit(model, (x, y), load_split("validation")[:2], "Training")
    facts = {"labels": labels, "features_version": FEATURES_VERSION, "trained_at": time.time()}
    weights = {"weights": model.state_dict(), "input_shape": list(x.shape[1:])}
    CHECKPOINT.parent.mkdir(parents=True, exist_ok=True)
    torch.save(facts | weights, CHECKPOINT)
    _train_baseline(x, y, len(labels))
    measurements = {
        "examples": len(x),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "best_epoch": 1 + int(np.nanargmin(curve["validation_loss"])),  # whose weights are kept
        "curve": curve,
    }
    write_report("train", facts | measurements)


def fit(
    model: nn.Module,
    training: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    title: str,
    min_steps: int = 0,
    criterion: Criterion = nn.functional.cross_entropy,
) -> dict[str, list[float]]:
    """Minimise a loss; return it for every epoch, and leave the weights of the best one.

    Learning rate: one cycle (Smith and Topin 2018, "Super-convergence").

    Raises:
        SystemExit: the validation loss was NaN after every epoch.
    """
    params = load_params()
    torch.set_num_threads(params.training_threads)
    x, y = map(torch.from_numpy, training)
    batches = -(-len(x) // params.batch_size)
    epochs = max(params.epochs, -(-min_steps // batches))
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, params.learning_rate, total_steps=epochs * batches
    )
    curve: dict[str, list[float]] = {"training_loss": [], "validation_loss": []}
    best: dict[str, Any] = {}
    lowest = math.inf
    for _ in track(range(epochs), title):
        model.train()
        losses = []
        for rows in torch.randperm(len(x)).split(params.batch_size):
            optimizer.zero_grad()
            loss = criterion(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        curve["training_loss"].append(float(np.mean(losses)))
        curve["validation_loss"].append(_loss(model, *validation, criterion))
        if curve["validation_loss"][-1] < lowest:  # false for NaN
            lowest = curve["validation_loss"][-1]
            best = copy.deepcopy(model.state_dict())
    if not best:
        raise SystemExit("Training diverged: lower learning_rate in params.yaml, like 0.001.")
    model.load_state_dict(best)
    return curve


@torch.no_grad()
def _loss(model: nn.Module, x: np.ndarray, y: np.ndarray, criterion: Criterion) -> float:
    model.eval()
    return float(criterion(model(torch.from_numpy(x)), torch.from_numpy(y)))


def _train_baseline(x: np.ndarray, y: np.ndarray, classes: int) -> None:
    """Fit the baseline of `scope.yaml`: the most frequent label, or one linear layer."""
    linear = nn.Linear(int(np.prod(x.shape[1:])), classes)
    if load_scope().baseline == "linear":
        validation_x, validation_y, _ = load_split("validation")
        flat = validation_x.reshape(len(validation_x), -1), validation_y
        fit(linear, (x.reshape(len(x), -1), y), flat, "Training the baseline", BASELINE_STEPS)
    else:
        nn.init.zeros_(linear.weight)
        linear.bias.data = torch.from_numpy(np.bincount(y, minlength=classes)).float()
    weights = {name: tensor.numpy() for name, tensor in linear.state_dict().items()}
    np.savez(BASELINE, labels=np.array(load_labels()), **weights)


def load_checkpoint() -> tuple[nn.Module, dict[str, Any]]:
    """Return the trained model, in evaluation mode, and its metadata.

    Raises:
        SystemExit: the checkpoint is missing, or belongs to another network, or to other labels.
    """
    try:
        content = torch.load(CHECKPOINT, weights_only=True)
        model = build_model(tuple(content["input_shape"]), len(content["labels"]))
        model.load_state_dict(content["weights"])
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        words = f"is not a checkpoint of this model ({str(error).splitlines()[0]})"
        raise SystemExit(f"{CHECKPOINT} {words}. Run the train stage.") from None
    return model.eval(), content | {"labels": require_labels(CHECKPOINT, content["labels"])}
