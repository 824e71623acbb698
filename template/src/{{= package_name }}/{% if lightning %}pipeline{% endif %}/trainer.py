"""Fit a network with Lightning."""

import copy
import logging
import math
import warnings
from importlib import import_module
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ..problem.learning import Criterion, choose_loss
from ..scope import load_params, load_scope

MODULE = "task/training.py"
MONITORED = ("validation_loss", "val_loss")  # the first of them that is logged
# PyTorch's default for AdamW (Loshchilov and Hutter 2019, "Decoupled weight decay regularization").
WEIGHT_DECAY = 1e-2
Arrays = tuple[np.ndarray, np.ndarray]  # inputs (n, ...) and targets (n, ...)
Curve = dict[str, list[float]]  # losses of each epoch


class Training(LightningModule):
    """Minimises a loss with AdamW; the learning rate follows one cycle.

    Smith and Topin 2018, "Super-convergence".
    """

    def __init__(self, network: nn.Module, criterion: Criterion, learning_rate: float) -> None:
        """Train `network`; `criterion` compares its scores, float32 (n, width), with targets."""
        super().__init__()
        self.network, self.criterion, self.learning_rate = network, criterion, learning_rate

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        x, targets = batch
        return self.criterion(self.network(x), targets)

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        x, targets = batch
        self.log(MONITORED[0], self.criterion(self.network(x), targets))

    def configure_optimizers(self) -> Any:
        rate, steps = self.learning_rate, int(self.trainer.estimated_stepping_batches)
        optimizer = torch.optim.AdamW(self.parameters(), rate, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class _KeepBest(Callback):
    """Records the losses of each epoch, and keeps the weights with the lowest validation loss."""

    def __init__(self, is_silent: bool) -> None:
        self._is_silent = is_silent
        self.curve: Curve = {"training_loss": [], "validation_loss": []}
        self.best: dict[str, Any] = {}
        self._lowest = math.inf
        self._losses: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *rest: Any
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if loss is not None:  # a step may be skipped
            self._losses.append(float(loss))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        logged = [name for name in MONITORED if name in trainer.callback_metrics]
        if not logged:
            raise SystemExit(
                f"validation_step in {MODULE}: got {sorted(trainer.callback_metrics)}; log"
                f' {MONITORED[0]}, for example self.log("{MONITORED[0]}", loss)'
            )
        loss = float(trainer.callback_metrics[logged[0]])
        self.curve["validation_loss"].append(loss)
        if loss < self._lowest:  # false for NaN
            self._lowest = loss
            self.best = copy.deepcopy(pl_module.state_dict())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.curve["training_loss"].append(float(np.mean(self._losses)))
        self._losses = []
        if not self._is_silent:
            epoch = f"Epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            losses = {name.replace("_", " "): values[-1] for name, values in self.curve.items()}
            print(epoch, *(f"{name} {value:.4g}" for name, value in losses.items()), sep=", ")


def fit_network(model: nn.Module, training: Arrays, validation: Arrays) -> tuple[Curve, list[str]]:
    """Fit the network with the parts of `task/training.py`; also return notes for the card.

    Raises:
        SystemExit: one of them cannot be used, or the validation loss was NaN after every epoch.
    """
    own = _load_own()
    params, criterion = load_params(), choose_loss(load_scope())
    module = model
    if not isinstance(module, LightningModule):
        module = own.get("Training", Training)(model, criterion, params.learning_rate)
    make_trainer = own.get("make_trainer", Trainer)
    curve = _run(module, training, validation, params.epochs, make_trainer)
    if not own:
        return curve, []
    return curve, [f"Trained with Lightning and parts of `{MODULE}`: {', '.join(own)}."]


def fit(
    model: nn.Module,
    training: Arrays,
    validation: Arrays,
    title: str,
    min_steps: int = 0,
    criterion: Criterion | None = None,
) -> Curve:
    """Minimise a loss; return it for every epoch, and leave the weights of the best one.

    Raises:
        SystemExit: the validation loss was NaN after every epoch.
    """
    print(f"{title}...")
    params = load_params()
    epochs = max(params.epochs, -(-min_steps // -(-len(training[0]) // params.batch_size)))
    module = Training(model, criterion or choose_loss(load_scope()), params.learning_rate)
    return _run(module, training, validation, epochs, Trainer, is_silent=True)


def _load_own() -> dict[str, Any]:
    """Return `Training` and `make_trainer` of `task/training.py`, if it defines them."""
    try:
        module = import_module("..task.training", __package__)
    except ModuleNotFoundError as error:
        if not str(error.name).endswith(".task.training"):
            raise  # a package that the file imports
        return {}
    names = ("Training", "make_trainer")
    return {name: getattr(module, name) for name in names if hasattr(module, name)}


def _run(
    module: LightningModule,
    training: Arrays,
    validation: Arrays,
    epochs: int,
    make_trainer: Any,
    is_silent: bool = False,
) -> Curve:
    """Run the trainer, and leave the weights of the best epoch."""
    params, keep = load_params(), _KeepBest(is_silent)
    torch.set_num_threads(params.training_threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # hardware, and advertisements
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", category=FutureWarning, module="lightning")
    shuffled = torch.Generator().manual_seed(params.seed)
    x, targets = map(torch.from_numpy, training)
    loader = DataLoader(
        TensorDataset(x, targets), params.batch_size, shuffle=True, generator=shuffled
    )
    held_out = TensorDataset(*map(torch.from_numpy, validation))
    trainer = make_trainer(
        max_epochs=epochs,
        callbacks=[keep],
        devices=1,
        deterministic="warn",  # an accelerator lacks some operators
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,  # one line per epoch, which a log can show, too
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    if not isinstance(trainer, Trainer):
        raise SystemExit(
            f"make_trainer in {MODULE}: got {type(trainer).__name__}; a trainer of Lightning, for"
            " example lightning.Trainer(**options)"
        )
    if keep not in getattr(trainer, "callbacks", []):
        raise SystemExit(
            f"make_trainer in {MODULE}: the callbacks of its options are missing; for example"
            ' callbacks=[*options.pop("callbacks"), EarlyStopping("validation_loss")]'
        )
    module.train()
    trainer.fit(module, loader, DataLoader(held_out, len(held_out)))
    if not keep.best:
        raise SystemExit("Training diverged: lower learning_rate in params.yaml, like 0.001.")
    module.load_state_dict(keep.best)
    module.cpu()
    return keep.curve
