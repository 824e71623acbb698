"""Read the output of `featurize`, one split at a time.

Not part of `featurize.py`: DVC would retrain after each edit of a module that `featurize` imports,
even if the features stay the same.
"""

from pathlib import Path

import numpy as np

from ..artifacts import FEATURES, refuse_other_labels
from ..problem.answer import Head, fit_head
from ..schema import load_schema


def load_split(split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x float32 (n, ...), y as `problem.answer.encode` returns it, and slice names (n,).

    `y` refers to `load_head`: compare a model with `require_head` before its answers.
    """
    with np.load(FEATURES) as data:
        rows = data["split"] == split
        return data["x"][rows], data["y"][rows], data["slice"][rows]


def load_head() -> Head:
    """Return what `y` refers to, such as the names of labels in their order."""
    return read_head(FEATURES) or fit_head([], load_schema())


def read_head(path: Path) -> Head | None:
    """Return the head that a file of arrays contains; None for files from before version 0.5.0."""
    with np.load(path) as data:
        known = {name: data[name].tolist() for name in Head.model_fields if name in data.files}
    return Head.model_validate(known) if known else None


def require_head(file: Path, head: Head | None) -> Head:
    """Return the head of a file, whose names and their order must be those of the features.

    None is for files from before version 0.5.0, which lack it.

    Raises:
        SystemExit: the names differ; the message has both orders.
    """
    expected = load_head()
    if head is None:
        return expected
    refuse_other_labels(file, head.names, FEATURES, expected.names)
    return head


def load_data_sha256() -> str:
    """Return the hash of the ingested examples."""
    with np.load(FEATURES) as data:
        return str(data["data_sha256"])


def load_facts(split: str) -> dict[str, np.ndarray]:
    """Return the facts of one split by name, each float64 (n,)."""
    with np.load(FEATURES) as data:
        rows = data["split"] == split
        columns = data["facts"][rows].T
        return {str(name): column for name, column in zip(data["fact_names"], columns, strict=True)}
