"""What the outputs of a given model mean: scores or probabilities, and of which labels."""

from typing import NamedTuple

import numpy as np

from .answer import Head, decode

Step = tuple[str, np.ndarray | None]  # an ONNX operator, and its second input
TINY = 1e-7  # probabilities closer to 0 or 1 than this have the same logit


class Meaning(NamedTuple):
    """How to turn raw outputs (n, labels) into logits (n, labels)."""

    activation: str
    order: list[int]  # for each label of the project, its place in the model


def expect(raw: np.ndarray, meaning: Meaning, head: Head) -> np.ndarray:
    """Return the scores (n, labels) that raw outputs of the given file stand for."""
    logits = raw.astype(np.float64)
    if meaning.activation == "sigmoid":
        logits = -np.log(np.maximum(1 / np.maximum(logits, TINY) - 1, TINY))
    return decode(logits[:, meaning.order], head)


def undone(meaning: Meaning) -> str:
    """Return the operator to remove from the end of the graph: its inputs are logits."""
    return "Sigmoid" if meaning.activation == "sigmoid" else ""


def steps(meaning: Meaning, head: Head, *, is_undone: bool) -> list[Step]:
    """Return the operators that turn what the graph returns now into logits.

    Without an activation in the file, its int8 variants keep the precision of probabilities.
    """
    made: list[Step] = []
    if meaning.activation == "sigmoid" and not is_undone:
        limit = np.array(TINY, np.float32)
        made += [("Max", limit), ("Reciprocal", None), ("Sub", np.array(1, np.float32))]
        made += [("Max", limit), ("Log", None), ("Neg", None)]
    if meaning.order != sorted(meaning.order):
        made.append(("Gather", np.array(meaning.order, np.int64)))
    return made
