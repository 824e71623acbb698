"""Knowledge distillation: train a smaller network on the predictions of the trained one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..problem.answer import Head
from ..problem.learning import distillation_loss
from ..scope import load_params
from ..task import model as task_model
from .export import write_onnx
from .networks import check_outputs
from .quantize import quantize_calibrated
from .splits import load_split
from .train import load_checkpoint
from .trainer import fit

# Optional in task/model.py: a smaller network than that of `build_model`.
BUILD: Callable[..., nn.Module] | None = getattr(task_model, "build_student", None)


def student(path: Path) -> None:
    """Train the student on the teacher's predictions for the training split; write it as ONNX.

    It does not learn from the correct answers: `min_int8_agreement` limits how often it may
    disagree with the teacher.
    """
    params, (teacher, checkpoint) = load_params(), load_checkpoint()
    torch.set_num_threads(params.training_threads)
    torch.manual_seed(params.seed)
    torch.use_deterministic_algorithms(True)
    x, validation_x = (load_split(split)[0] for split in ("train", "validation"))
    assert BUILD, "variants() lists students only if task/model.py has one"  # noqa: S101
    head = Head.model_validate(checkpoint)
    network = BUILD(x.shape[1:], head.width)
    check_outputs(network, x, head, "build_student")
    training = x, _scores(teacher, x, params.batch_size)
    validation = validation_x, _scores(teacher, validation_x, params.batch_size)
    fit(network, training, validation, "Distilling", criterion=distillation_loss)
    write_onnx(network, x[:2], checkpoint, path)


def student_int8(path: Path) -> None:
    """Quantize the student in the same folder; train it first if it is missing."""
    source = path.with_name("student.onnx")
    if not source.exists():
        student(source)
    quantize_calibrated(source, path)


@torch.no_grad()
def _scores(teacher: nn.Module, x: np.ndarray, batch_size: int) -> np.ndarray:
    batches = torch.from_numpy(x).split(batch_size)
    return torch.cat([teacher(batch) for batch in batches]).numpy()
