"""Train a smaller network to answer like the trained one: knowledge distillation."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..scope import load_params
from ..task import model as task_model
from .export import write_onnx
from .quantize import quantize_calibrated
from .splits import load_split
from .train import fit, load_checkpoint

# Optional in task/: a smaller network than `build_model` returns.
BUILD: Callable[..., nn.Module] | None = getattr(task_model, "build_student", None)
# Divides the logits of both networks, so that the student also learns how the teacher ranks wrong
# answers. Hinton et al. found 2.5 to 4 best for small students; 1 would teach little but labels.
TEMPERATURE = 4.0


def student(path: Path) -> None:
    """Train the student on the teacher's answers to the training split, and write it as ONNX.

    The soft targets of Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural
    network", without the labels: `min_int8_agreement` limits how often the student may disagree.
    """
    params, (teacher, checkpoint) = load_params(), load_checkpoint()
    torch.set_num_threads(params.training_threads)
    torch.manual_seed(params.seed)
    torch.use_deterministic_algorithms(True)
    x, validation_x = (load_split(split)[0] for split in ("train", "validation"))
    assert BUILD, "variants() lists students only where task/model.py has one"  # noqa: S101
    network = BUILD(x.shape[1:], len(checkpoint["labels"]))
    training = x, _logits(teacher, x, params.batch_size)
    validation = validation_x, _logits(teacher, validation_x, params.batch_size)
    fit(network, training, validation, "Distilling", criterion=_soft_cross_entropy)
    write_onnx(network, x[:2], checkpoint, path)


def student_int8(path: Path) -> None:
    """Quantize the student in the same folder, which is trained first if it is not there."""
    source = path.with_name("student.onnx")
    if not source.exists():
        student(source)
    quantize_calibrated(source, path)


@torch.no_grad()
def _logits(teacher: nn.Module, x: np.ndarray, batch_size: int) -> np.ndarray:
    batches = torch.from_numpy(x).split(batch_size)
    return torch.cat([teacher(batch) for batch in batches]).numpy()


def _soft_cross_entropy(logits: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    """Compare logits (n, labels) with the teacher's, both softened; the square keeps the scale."""
    targets = (taught / TEMPERATURE).softmax(dim=1)
    return TEMPERATURE**2 * nn.functional.cross_entropy(logits / TEMPERATURE, targets)
