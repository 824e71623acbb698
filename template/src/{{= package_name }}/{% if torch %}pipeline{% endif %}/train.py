"""Train the network, and the baseline to beat."""

import pickle
import time
from typing import Any

import numpy as np
import torch
from torch import nn

from ..artifacts import BASELINE, CHECKPOINT, FEATURES, refuse_other_labels, write_report
from ..problem.answer import Head
from ..problem.simplest import simple_weights
from ..problem.targets import to_targets
from ..schema import SCHEMA, load_schema
from ..scope import load_params, load_scope
from ..task.features import FEATURES_VERSION
from ..task.model import build_model
from .networks import check_outputs
from .splits import load_head, load_split, require_head
from .trainer import fit, fit_network

# On little data, the epochs of `params.yaml` are few steps. Beating a baseline that has not
# converged would prove nothing.
BASELINE_STEPS = 2000
INVALID = (TypeError, ValueError, pickle.UnpicklingError)  # other contents of a checkpoint


def train() -> None:
    """Fit the network and the baseline on the training split, with the seed of `params.yaml`."""
    params = load_params()
    head = load_head()
    refuse_other_labels(SCHEMA, load_schema().labels, FEATURES, head.names)
    torch.manual_seed(params.seed)
    torch.use_deterministic_algorithms(True)
    x, y, _ = load_split("train")
    model = build_model(x.shape[1:], head.width)
    check_outputs(model, x, head)
    training, validation = (x, to_targets(y, head)), _load_validation(head)
    curve, notes = fit_network(model, training, validation)
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
        "notes": notes,
    }
    write_report("train", facts | measurements)


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
