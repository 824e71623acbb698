"""Read the output of `featurize`, one split at a time.

Not part of `featurize.py`: DVC would retrain after each edit of a module that `featurize` imports,
even if the features stay the same.
"""

import numpy as np

from ..artifacts import FEATURES


def load_split(split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x float32 (n, ...), y int64 (n,) and slice names (n,)."""
    with np.load(FEATURES) as data:
        rows = data["split"] == split
        return data["x"][rows], data["y"][rows], data["slice"][rows]


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
