"""Knowledge distillation: train a smaller network on the predictions of the trained one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..scope import load_params
from ..task import model as task_model
from .export import write_onnx
from .networks import check_outputs
from .quantize import quantize_calibrated
from .splits import load_split
from .train import fit, load_checkpoint

# Optional in task/model.py: a smaller network than that of `build_model`.
BUILD: Callable[..., nn.Module] | None = getattr(task_model, "build_student", None)
# Divides the logits of both networks: the student also learns how the teacher ranks wrong labels.
# Hinton et al. found 2.5 to 4 best for small students.
TEMPERATURE = 4.0


def student(path: Path) -> None:
    """Train the student on the teacher's predictions for the training split; write it as ONNX.

    Soft targets as in Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural
    network", without labels: `min_int8_agreement` limits how often the student may disagree.
    """
    params, (teacher, checkpoint) = load_params(), load_checkpoint()
    torch.set_num_threads(params.training_threads)
    torch.manual_seed(params.seed)
    torch.use_deterministic_algorithms(True)
    x, validation_x = (load_split(split)[0] for split in ("train", "validation"))
    assert BUILD, "variants() lists students only if task/model.py has one"  # noqa: S101
    network = BUILD(x.shape[1:], len(checkpoint["labels"]))
    check_outputs(network, x, checkpoint["labels"], "build_student")
    training = x, _logits(teacher, x, params.batch_size)
    validation = validation_x, _logits(teacher, validation_x, params.batch_size)
    fit(network, training, validation, "Distilling", criterion=_soft_cross_entropy)
    write_onnx(network, x[:2], checkpoint, path)


def student_int8(path: Path) -> None:
    """Quantize the student in the same folder; train it first if it is missing."""
    source = path.with_name("student.onnx")
    if not source.exists():
        student(source)
    quantize_calibrated(source, path)


@torch.no_grad()
def _logits(teacher: nn.Module, x: np.ndarray, batch_size: int) -> np.ndarray:
    batches = torch.from_numpy(x).split(batch_size)
    return torch.cat([teacher(batch) for batch in batches]).numpy()


def _soft_cross_entropy(logits: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of softened logits (n, labels); the square keeps the scale of the gradient."""
    targets = (teacher / TEMPERATURE).softmax(dim=1)
    return TEMPERATURE**2 * nn.functional.cross_entropy(logits / TEMPERATURE, targets)
