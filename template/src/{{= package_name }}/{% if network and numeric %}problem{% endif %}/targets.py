"""What a network learns: numbers, as arrays."""

import numpy as np

from .answer import Head


def describe_width(head: Head) -> str:
    """Return how many outputs a network must have, in words."""
    return f"an answer has {head.width} numbers" if head.width > 1 else "the answer is one number"


def to_targets(truth: np.ndarray, head: Head) -> np.ndarray:
    """Return the correct answers in the form of the loss: standardised, float32 (n, width)."""
    return ((truth - head.centre) / head.scale).astype(np.float32)
