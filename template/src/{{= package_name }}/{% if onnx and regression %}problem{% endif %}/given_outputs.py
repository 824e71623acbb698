"""Check the outputs of a given model: one number in the unit of the answers."""

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from ..refusal import Refusal
from .answer import Head
from .outputs import Meaning


def find_meaning(
    raw: np.ndarray, last: str, given: ModuleType, listed: Sequence[str], head: Head
) -> Meaning:
    """Check the raw outputs (n, outputs).

    Raises:
        Refusal: the model does not return one number.
    """
    if raw.shape[1] != 1:
        rule = "one number per input; name the right one with OUTPUT in task/given.py"
        raise Refusal("outputs of the model", raw.shape[1], rule, 1)
    return Meaning()
