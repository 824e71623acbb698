"""Reading what `featurize` wrote, one split at a time.

Apart from `featurize`, so that an edit of what that needs, like the contract, retrains nothing
as long as the features stay the same.
"""

import numpy as np

from ..artifacts import FEATURES


def load_split(split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x float32 (n, ...), y int64 (n,) and the name of the slice of each example (n,)."""
    with np.load(FEATURES) as data:
        rows = data["split"] == split
        return data["x"][rows], data["y"][rows], data["slice"][rows]


def load_facts(split: str) -> dict[str, np.ndarray]:
    """Return each fact of one split by its name, float64 (n,)."""
    with np.load(FEATURES) as data:
        rows = data["split"] == split
        columns = data["facts"][rows].T
        return {str(name): column for name, column in zip(data["fact_names"], columns, strict=True)}
