"""What a network learns: sets of labels, as arrays."""

import numpy as np

from .answer import Head


def describe_width(head: Head) -> str:
    """Return how many outputs a network must have, in words."""
    return f"the data has {head.width} labels ({', '.join(head.labels)})"


def to_targets(truth: np.ndarray, head: Head) -> np.ndarray:
    """Return the correct answers in the form of `loss`: 0 and 1, float32 (n, labels)."""
    return truth
