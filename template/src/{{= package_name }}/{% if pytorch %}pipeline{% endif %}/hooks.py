"""Optional functions in `task/training.py` that change how the network is trained."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import FunctionType
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ..problem.learning import Criterion

MODULE = "task/training.py"
# PyTorch's default for AdamW (Loshchilov and Hutter 2019, "Decoupled weight decay regularization").
WEIGHT_DECAY = 1e-2


class Hooks(NamedTuple):
    """What `task/training.py` may define; None stands for the default."""

    # One example of features, float32, to one of the same shape. Never runs on held-out examples.
    augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None
    # Scores float32 (n, width), and targets as `problem.learning.to_targets` returns them.
    loss: Criterion | None = None
    # The network and `learning_rate`, which each group of parameters may replace by its own `lr`.
    optimizer: Callable[[nn.Module, float], torch.optim.Optimizer] | None = None
    # Targets of the training split to weights, float (n,): how often each example is drawn.
    sample_weights: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def checked_loss(self) -> Criterion | None:
        """The loss, which raises SystemExit if it returns anything but one number per batch."""
        return partial(_check_loss, self.loss) if self.loss else None

    def describe(self) -> list[str]:
        """Return what a reader of the model card should know about the training."""
        names = [name for name, hook in self._asdict().items() if hook]
        return [f"Trained with functions of `{MODULE}`: {', '.join(names)}."] if names else []


def load_hooks() -> Hooks:
    """Return the functions of `task/training.py`, if there is one.

    Raises:
        SystemExit: it defines a function with another name, which would never run.
    """
    try:
        module = import_module("..task.training", __package__)
    except ModuleNotFoundError as error:
        if not str(error.name).endswith(".task.training"):
            raise  # a package that the file imports
        return Hooks()
    own = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, FunctionType) and value.__module__ == module.__name__
    }
    if unknown := [name for name in own if name not in Hooks._fields and name[0] != "_"]:
        raise SystemExit(
            f"{MODULE}: got {', '.join(unknown)}; functions called {', '.join(Hooks._fields)}, and"
            " others with a leading underscore, for example _helper"
        )
    return Hooks(**{name: own.get(name) for name in Hooks._fields})


def make_optimizer(
    model: nn.Module, hooks: Hooks, learning_rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return the optimizer, AdamW by default, and the schedule of its learning rates.

    Each rate follows one cycle (Smith and Topin 2018, "Super-convergence").

    Raises:
        SystemExit: `optimizer` returns something else.
    """
    optimizer = (hooks.optimizer or _adamw)(model, learning_rate)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise SystemExit(
            f"optimizer in {MODULE}: got {type(optimizer).__name__}; an optimizer of PyTorch, for"
            " example torch.optim.SGD(model.parameters(), learning_rate)"
        )
    highest = [group["lr"] for group in optimizer.param_groups]
    momentum = not hooks.optimizer  # that of another optimizer stays as it was set
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer, highest, total_steps=steps, cycle_momentum=momentum
    )


def _adamw(model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    parameters = model.parameters()
    return torch.optim.AdamW(parameters, learning_rate, weight_decay=WEIGHT_DECAY, fused=True)


def _check_loss(loss: Criterion, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    value = loss(scores, targets)
    if not isinstance(value, torch.Tensor) or value.ndim:
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise SystemExit(
            f"loss in {MODULE}: got {shape}; one number per batch as a tensor of shape (), for"
            " example losses.mean()"
        )
    return value


def augment_batch(x: torch.Tensor, hooks: Hooks, rng: np.random.Generator) -> torch.Tensor:
    """Return a batch, float32 (n, ...), with each example augmented.

    Raises:
        SystemExit: `augment` changes the shape, or returns NaN.
    """
    if not hooks.augment:
        return x
    changed = [np.asarray(hooks.augment(row, rng), np.float32) for row in x.numpy().copy()]
    shapes = {row.shape for row in changed}
    if shapes != {tuple(x.shape[1:])} or not all(np.isfinite(row).all() for row in changed):
        found = ", ".join(map(str, shapes)) if shapes != {tuple(x.shape[1:])} else "NaN"
        raise SystemExit(
            f"augment in {MODULE}: got {found}; finite values of the shape of the input, for"
            f" example {tuple(x.shape[1:])}"
        )
    return torch.from_numpy(np.stack(changed))


def draw_order(targets: torch.Tensor, hooks: Hooks) -> torch.Tensor:
    """Return the examples of one epoch, int64 (n,): each once, or drawn by `sample_weights`.

    Raises:
        SystemExit: `sample_weights` returns other than one finite weight per example.
    """
    if not hooks.sample_weights:
        return torch.randperm(len(targets))
    weights = np.asarray(hooks.sample_weights(targets.numpy()), np.float64)
    is_usable = weights.shape == (len(targets),) and bool(np.isfinite(weights).all())
    if not is_usable or weights.min() < 0 or weights.max() <= 0:
        raise SystemExit(
            f"sample_weights in {MODULE}: got an array of shape {weights.shape}; one finite weight"
            f" per training example, shape ({len(targets)},), none negative and not all 0"
        )
    return torch.multinomial(torch.from_numpy(weights), len(targets), replacement=True)


def start_epoch(model: nn.Module) -> None:
    """Set the training mode, except in modules whose parameters are all frozen.

    Otherwise the running means of a frozen BatchNorm would change.
    """
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()
