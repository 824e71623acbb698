"""Train the network, and the baseline to beat."""

import copy
import math
import pickle
import time
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import nn

from ..artifacts import BASELINE, CHECKPOINT, FEATURES, refuse_other_labels, write_report
from ..problem.answer import Head
from ..problem.learning import Criterion, choose_loss, simple_weights, to_targets
from ..schema import SCHEMA, load_schema
from ..scope import load_params, load_scope
from ..task.features import FEATURES_VERSION
from ..task.model import build_model
from .hooks import Hooks, augment_batch, draw_order, load_hooks, make_optimizer, start_epoch
from .networks import check_outputs
from .splits import load_head, load_split, require_head

# On little data, the epochs of `params.yaml` are few steps. Beating a baseline that has not
# converged would prove nothing.
BASELINE_STEPS = 2000
INVALID = (TypeError, ValueError, pickle.UnpicklingError)  # other contents of a checkpoint


def train() -> None:
    """Fit the network and the baseline on the training split, with the seed of `params.yaml`."""
    params, hooks = load_params(), load_hooks()
    head = load_head()
    refuse_other_labels(SCHEMA, load_schema().labels, FEATURES, head.names)
    torch.manual_seed(params.seed)
    torch.use_deterministic_algorithms(True)
    x, y, _ = load_split("train")
    model = build_model(x.shape[1:], head.width)
    check_outputs(model, x, head)
    training, validation = (x, to_targets(y, head)), _load_validation(head)
    curve = fit(model, training, validation, "Training", hooks=hooks)
    facts = head.model_dump() | {"features_version": FEATURES_VERSION, "trained_at": time.time()}
    weights = {"weights": model.state_dict(), "input_shape": list(x.shape[1:])}
    CHECKPOINT.parent.mkdir(parents=True, exist_ok=True)
    torch.save(facts | weights, CHECKPOINT)
    _train_baseline(training, validation, head)
    measurements = {
        "examples": len(x),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "best_epoch": 1 + int(np.nanargmin(curve["validation_loss"])),  # whose weights are kept
        "curve": curve,
        "notes": hooks.describe(),
    }
    write_report("train", facts | measurements)


def fit(
    model: nn.Module,
    training: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    title: str,
    min_steps: int = 0,
    criterion: Criterion | None = None,
    hooks: Hooks = Hooks(),  # noqa: B008 (immutable)
) -> dict[str, list[float]]:
    """Minimise a loss; return it for every epoch, and leave the weights of the best one.

    Raises:
        SystemExit: the validation loss was NaN after every epoch.
    """
    params, criterion = load_params(), criterion or hooks.checked_loss or choose_loss(load_scope())
    torch.set_num_threads(params.training_threads)
    x, y = map(torch.from_numpy, training)
    batches = -(-len(x) // params.batch_size)
    epochs = max(params.epochs, -(-min_steps // batches))
    optimizer, schedule = make_optimizer(model, hooks, params.learning_rate, epochs * batches)
    rng = np.random.default_rng(params.seed)
    curve: dict[str, list[float]] = {"training_loss": [], "validation_loss": []}
    best: dict[str, Any] = {}
    lowest = math.inf
    for _ in track(range(epochs), title):
        start_epoch(model)
        losses = []
        for rows in draw_order(y, hooks).split(params.batch_size):
            optimizer.zero_grad()
            loss = criterion(model(augment_batch(x[rows], hooks, rng)), y[rows])
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


def _load_validation(head: Head) -> tuple[np.ndarray, np.ndarray]:
    x, y, _ = load_split("validation")
    return x, to_targets(y, head)


def _train_baseline(
    training: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray], head: Head
) -> None:
    """Fit the baseline of `scope.yaml`: one linear layer, whose weights may be fixed."""
    x, y = training
    linear = nn.Linear(int(np.prod(x.shape[1:])), head.width)
    if load_scope().baseline == "linear":
        validation_x, validation_y = validation
        flat = validation_x.reshape(len(validation_x), -1), validation_y
        fit(linear, (x.reshape(len(x), -1), y), flat, "Training the baseline", BASELINE_STEPS)
    else:
        fixed = simple_weights(y, head, linear.in_features)
        linear.weight.data, linear.bias.data = (torch.from_numpy(each).float() for each in fixed)
    weights = {name: tensor.numpy() for name, tensor in linear.state_dict().items()}
    known: dict[str, Any] = head.model_dump() | weights
    np.savez(BASELINE, **known)


def load_checkpoint() -> tuple[nn.Module, dict[str, Any]]:
    """Return the trained model, in evaluation mode, and its metadata.

    Raises:
        SystemExit: the checkpoint is missing, or belongs to another network, or to other labels.
    """
    try:
        content = torch.load(CHECKPOINT, weights_only=True)
        head = Head.model_validate(content)
        model = build_model(tuple(content["input_shape"]), head.width)
        model.load_state_dict(content["weights"])
    except (OSError, RuntimeError, EOFError, LookupError, *INVALID) as error:
        words = f"is not a checkpoint of this model ({str(error).splitlines()[0]})"
        raise SystemExit(f"{CHECKPOINT} {words}. Run the train stage.") from None
    require_head(CHECKPOINT, head)
    return model.eval(), content
