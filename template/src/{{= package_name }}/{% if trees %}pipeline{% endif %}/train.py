"""Fit the model of task/model.py, or take in a finished one; fit the baseline to beat."""

import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts import FEATURES, refuse_other_labels, write_report
from ..problem.answer import Head
from ..problem.estimators import find_meaning, list_classes, list_fitted, predict, to_targets
from ..refusal import Refusal
from ..schema import SCHEMA, load_schema
from ..scope import load_params
from ..task import model as task_model
from ..task.features import FEATURES_VERSION
from .estimator import describe, save_checkpoint
from .given_estimator import check_width, find_given, load_given
from .linear import write_baseline
from .splits import load_head, load_split


def train() -> None:
    """Write the checkpoint and the baseline.

    Raises:
        SystemExit: the model cannot be used; the message says what to change.
    """
    head = load_head()
    refuse_other_labels(SCHEMA, load_schema().labels, FEATURES, head.names)
    x, truth, _ = load_split("train")
    facts = head.model_dump() | {"features_version": FEATURES_VERSION, "trained_at": time.time()}
    try:
        given = find_given()
        model, classes = _take_in(given, x) if given else _fit(x, truth, head)
        find_meaning(predict(model, x[:2]), classes, head)
        save_checkpoint(model, facts | {"classes": classes})
    except Refusal as error:
        raise SystemExit(f"The model cannot be used. {error}") from None
    write_baseline(head)
    made = {"examples": len(x), "estimator": describe(model)}
    write_report("train", facts | made | ({"origin": _describe(given)} if given else {}))


def _fit(x: np.ndarray, truth: np.ndarray, head: Head) -> tuple[Any, list[str]]:
    """Return the model and the names of its outputs."""
    model = task_model.build_model(load_params().seed)
    model.fit(x, to_targets(truth, head))
    return model, list_fitted(model, head)


def _take_in(path: Path, x: np.ndarray) -> tuple[Any, list[str]]:
    model = load_given(path)
    check_width(model, x.shape[1])
    return model, list_classes(model, getattr(task_model, "LABELS", []))


def _describe(path: Path) -> list[str]:
    """Return sentences about a finished model for the model card."""
    digest = sha256(path.read_bytes()).hexdigest()
    return [
        f"Made from `{path.name}`, SHA-256 `{digest}`.",
        f"Origin: {getattr(task_model, 'ORIGIN', '') or 'not stated (ORIGIN in task/model.py)'}.",
        "It was not trained here: the quality holds only if the held-out examples were not among"
        " those that it was trained on.",
    ]
