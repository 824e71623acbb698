"""Check the outputs of a given model: numbers in the unit of the answers."""

from collections.abc import Sequence

import numpy as np

from ..refusal import Refusal
from .answer import Head
from .outputs import Meaning


def find_meaning(
    raw: np.ndarray, last: str, names: Sequence[str], activation: str, head: Head
) -> Meaning:
    """Check the raw outputs (n, outputs); the other arguments are for labels.

    Raises:
        Refusal: the model does not return as many numbers as an answer has.
    """
    if raw.shape[1] != head.width:
        rule = f"{head.width} per input; name the right one with OUTPUT in task/given.py"
        raise Refusal("outputs of the model", raw.shape[1], rule, head.width)
    return Meaning()
