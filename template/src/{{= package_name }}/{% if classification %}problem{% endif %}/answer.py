"""What one answer is: one label of several. It needs only NumPy and pydantic.

`outputs` are the decoded outputs of a model: here probabilities, float32 (n, labels).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel

from ..refusal import Refusal
from .keys import ProblemSchema, ProblemScope

SIGNALS = ("confidence", "entropy", "label")  # of answers, which drift monitoring watches
# Tensors of the Open Inference Protocol: the name, which is a field of an answer, and the datatype.
TENSORS = (("label", "BYTES"), ("confidence", "FP32"))
TENSOR_SHAPE = [-1]  # payloads
EXAMPLE = {"label": "the correct label"}
COLUMN = "category"  # kind of a column of a table that holds the answers
CONFIDENCE_TYPE = "real"  # of the column `confidence` of the journal
TINY = np.finfo(np.float32).tiny  # avoids the logarithm of 0


class Answer(BaseModel):
    """A correct answer, as clients send it."""

    label: str


class Predicted(Answer):
    """The answer of a model, as clients receive it."""

    confidence: float


class Head(BaseModel, frozen=True):
    """What a model file says of its outputs. Each field is an entry of its metadata."""

    labels: list[str]

    @property
    def names(self) -> list[str]:
        """Names of the outputs; files that are used together must have the same ones."""
        return self.labels

    @property
    def width(self) -> int:
        return len(self.labels)


def read(text: str) -> Answer:
    """Read an answer as examples have it: the name of a folder, or a cell of a table."""
    return Answer(label=text)


def write(answer: Answer) -> str:
    """Write an answer as examples and the journal have it."""
    return answer.label


def fit_head(answers: Sequence[Answer], schema: ProblemSchema) -> Head:
    """Return the head of a model that is trained on these answers."""
    return Head(labels=schema.labels)


def encode(answers: Sequence[Answer], head: Head) -> np.ndarray:
    """Return the correct answers in the form of metrics: indices of labels, int64 (n,)."""
    return np.array([head.labels.index(answer.label) for answer in answers])


def decode(scores: np.ndarray, head: Head) -> np.ndarray:
    """Turn logits (n, labels) into probabilities. In the graph, int8 would round them."""
    odds = np.exp(scores - np.maximum.reduce(scores, axis=1, keepdims=True))
    return np.asarray(odds / np.add.reduce(odds, axis=1, keepdims=True))


def to_answers(outputs: np.ndarray, head: Head) -> list[dict[str, Any]]:
    """Return the fields of `Predicted` for each row."""
    best = outputs.argmax(axis=1)
    confidences = outputs[np.arange(len(outputs)), best].tolist()
    labels = [head.labels[i] for i in best]
    return [{"label": n, "confidence": c} for n, c in zip(labels, confidences, strict=True)]


def to_tensors(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the elements of `TENSORS` for the answer of a model."""
    return {name: answer[name] for name, _ in TENSORS}


def signals(outputs: np.ndarray, head: Head) -> dict[str, np.ndarray]:
    """Return the values of `SIGNALS`, each a float array (n,). The entropy is in nats."""
    entropy = -(outputs * np.log(outputs + TINY)).sum(axis=1)
    label = outputs.argmax(axis=1).astype(np.float64)
    return {"confidence": outputs.max(axis=1), "entropy": entropy, "label": label}


def is_signal(name: str) -> bool:
    """Whether drift monitoring uses this name for a signal of answers."""
    return name in SIGNALS


def agree(first: np.ndarray, second: np.ndarray, head: Head, limits: ProblemScope) -> np.ndarray:
    """Return in which rows two outputs give the same answer, bool (n,)."""
    return np.asarray(first.argmax(axis=1) == second.argmax(axis=1))


def difference(first: np.ndarray, second: np.ndarray, head: Head) -> float:
    """Return how far two runtimes are apart: the largest difference of a probability."""
    return float(np.abs(first - second).max())


def is_same(first: Mapping[str, Any], second: Mapping[str, Any], limits: ProblemScope) -> bool:
    """Whether the answers of two models are the same."""
    return bool(first.get("label") == second.get("label"))


def shift(first: Mapping[str, Any], second: Mapping[str, Any], limits: ProblemScope) -> float:
    """Return how far the answers of two models are apart: the change of the confidence."""
    return float(abs(first["confidence"] - second["confidence"]))


def is_right(truth: Answer, answer: Mapping[str, Any]) -> bool:
    """Whether a model gave the correct answer."""
    return bool(truth.label == answer["label"])


def count_names(head: Head) -> list[str]:
    """Return the values of the label of the counter `predictions_total`."""
    return head.labels


def count_name(answer: Mapping[str, Any]) -> str:
    """Return under which of these an answer is counted."""
    return str(answer["label"])


def list_said(answer: Mapping[str, Any]) -> list[str]:
    """Return what a second counter counts: nothing, labels are counted in `predictions_total`."""
    return []


def to_journal(answer: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return the columns `label` and `confidence` of the journal for the answer of a model."""
    return answer["label"], answer["confidence"]


def from_journal(label: str, confidence: float | None) -> dict[str, Any]:
    """Return the answer of a model that is in these columns."""
    return {"label": label, "confidence": confidence}


def is_of(answer: Mapping[str, Any], head: Head) -> bool:
    """Whether a model with this head can give such an answer."""
    return answer["label"] in head.labels


def find_fault(answer: Answer, heads: Sequence[Head]) -> Refusal | None:
    """Return the rule that a correct answer breaks if it is unknown to all of these models."""
    known = list(dict.fromkeys(label for head in heads for label in head.labels))
    if answer.label in known:
        return None
    return Refusal("label", answer.label, f"a label of the model: {', '.join(known)}", known[0])
