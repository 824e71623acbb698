"""What the outputs of a given model mean: numbers in the unit of the answers."""

from typing import NamedTuple

import numpy as np

from .answer import Head

Step = tuple[str, np.ndarray | None]  # an ONNX operator, and its second input


class Meaning(NamedTuple):
    """How to read raw outputs (n, numbers): they have no order and no activation."""

    activation: str = "none"


def expect(raw: np.ndarray, meaning: Meaning, head: Head) -> np.ndarray:
    """Return the answers (n, numbers) that raw outputs of the given file stand for."""
    return raw.astype(np.float64)


def undone(meaning: Meaning) -> str:
    """Return the operator to remove from the end of the graph: none."""
    return ""


def steps(meaning: Meaning, head: Head, *, is_undone: bool) -> list[Step]:
    """Return the operators that standardise the answers: `decode` reverses them."""
    centre, scale = np.float32(head.centre), np.float32(head.scale)
    return [("Sub", np.array(centre)), ("Div", np.array(scale))]
