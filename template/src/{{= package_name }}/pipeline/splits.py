"""Read the output of `featurize`, one split at a time.

Not part of `featurize.py`: DVC would retrain after each edit of a module that `featurize` imports,
even if the features stay the same.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..artifacts import FEATURES, refuse_other_labels
from ..schema import load_schema


def load_split(split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x float32 (n, ...), y int64 (n,) and slice names (n,).

    `y` are indices of `load_labels`: compare a model with `require_labels` before its answers.
    """
    with np.load(FEATURES) as data:
        rows = data["split"] == split
        return data["x"][rows], data["y"][rows], data["slice"][rows]


def load_labels() -> list[str]:
    """Return the names of the labels, in the order that `y` refers to."""
    with np.load(FEATURES) as data:
        if "labels" in data:
            return [str(label) for label in data["labels"]]
    return load_schema().labels  # a file from before version 0.5.0


def require_labels(file: Path, labels: Iterable[str] | None) -> list[str]:
    """Return the labels of a file, which must be those of the features, in the same order.

    None is for files from before version 0.5.0, which lack them.

    Raises:
        SystemExit: the labels differ; the message names both orders.
    """
    expected = load_labels()
    if labels is not None:
        refuse_other_labels(file, [str(label) for label in labels], FEATURES, expected)
    return expected


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
