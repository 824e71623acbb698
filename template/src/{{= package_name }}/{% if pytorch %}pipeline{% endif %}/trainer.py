"""Fit a network with PyTorch."""

import copy
import math
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import nn

from ..problem.learning import Criterion, choose_loss
from ..scope import load_params, load_scope
from .hooks import Hooks, augment_batch, draw_order, load_hooks, make_optimizer, start_epoch

Arrays = tuple[np.ndarray, np.ndarray]  # inputs (n, ...) and targets (n, ...)
Curve = dict[str, list[float]]  # losses of each epoch


def fit_network(model: nn.Module, training: Arrays, validation: Arrays) -> tuple[Curve, list[str]]:
    """Fit the network with the functions of `task/training.py`; also return notes for the card.

    Raises:
        SystemExit: one of them cannot be used, or the validation loss was NaN after every epoch.
    """
    hooks = load_hooks()
    return fit(model, training, validation, "Training", hooks=hooks), hooks.describe()


def fit(
    model: nn.Module,
    training: Arrays,
    validation: Arrays,
    title: str,
    min_steps: int = 0,
    criterion: Criterion | None = None,
    hooks: Hooks = Hooks(),  # noqa: B008 (immutable)
) -> Curve:
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
    curve: Curve = {"training_loss": [], "validation_loss": []}
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
