"""A trained network in, a smaller one that learned to answer like it out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..scope import load_params
from ..task import model as network
from .export import write_onnx
from .quantize import static
from .splits import load_split
from .train import fit, load_checkpoint

BUILD: Callable[..., nn.Module] | None = getattr(network, "build_student", None)
TEMPERATURE = 4.0  # how much of the teacher's doubt between wrong answers is taught


def distill(path: Path) -> None:
    """Train the student on the teacher's answers to the training split, and write it as ONNX.

    The soft targets of Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural
    network", without the labels: a student is wanted that agrees.
    """
    params, (teacher, checkpoint) = load_params(), load_checkpoint()
    torch.set_num_threads(params.training_threads)
    torch.manual_seed(params.seed)
    torch.use_deterministic_algorithms(True)
    x, validation_x = (load_split(split)[0] for split in ("train", "validation"))
    assert BUILD, "else it is no candidate"  # noqa: S101
    student = BUILD(x.shape[1:], len(checkpoint["labels"]))
    training = x, _logits(teacher, x, params.batch_size)
    validation = validation_x, _logits(teacher, validation_x, params.batch_size)
    fit(student, training, validation, "Distilling", criterion=_soft_cross_entropy)
    write_onnx(student, x[:2], checkpoint, path)


def student_int8(path: Path) -> None:
    """Quantize the student, which was written beside it or is trained now."""
    large = path.with_name("student.onnx")
    if not large.exists():
        distill(large)
    static(large, path)


# Where `task/model.py` says what a smaller network would be.
STUDENTS = {"student": distill, "student_int8": student_int8} if BUILD else {}


@torch.no_grad()
def _logits(teacher: nn.Module, x: np.ndarray, batch_size: int) -> np.ndarray:
    batches = torch.from_numpy(x).split(batch_size)
    return torch.cat([teacher(batch) for batch in batches]).numpy()


def _soft_cross_entropy(logits: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    """Compare logits (n, labels) with the teacher's, both softened; the square keeps the scale."""
    targets = (taught / TEMPERATURE).softmax(dim=1)
    return TEMPERATURE**2 * nn.functional.cross_entropy(logits / TEMPERATURE, targets)
