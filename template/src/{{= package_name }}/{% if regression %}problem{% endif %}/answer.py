"""What one answer is: a number with an interval. It needs only NumPy and pydantic.

`outputs` are the decoded outputs of a model: here numbers in the unit of the answers, float64
(n, 1).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from ..refusal import Refusal
from .keys import ProblemSchema, ProblemScope
from .unnamed import COLUMN as COLUMN
from .unnamed import CONFIDENCE_TYPE as CONFIDENCE_TYPE
from .unnamed import MAX_SIZE as MAX_SIZE
from .unnamed import SIGNALS as SIGNALS
from .unnamed import count_name as count_name
from .unnamed import count_names as count_names
from .unnamed import is_signal as is_signal
from .unnamed import list_said as list_said
from .unnamed import read_journal

# Tensors of the Open Inference Protocol: the name, which is a field of an answer, and the datatype.
TENSORS = (("value", "FP32"), ("low", "FP32"), ("high", "FP32"))
TENSOR_SHAPE = [-1]  # payloads
EXAMPLE = {"value": 1.5}


class Answer(BaseModel):
    """A correct answer, as clients send it."""

    value: float = Field(ge=-MAX_SIZE, le=MAX_SIZE, allow_inf_nan=False)


class Predicted(Answer):
    """The answer of a model, as clients receive it, and the interval around it."""

    low: float
    high: float


class Head(BaseModel, frozen=True):
    """What a model file says of its outputs. Each field is an entry of its metadata.

    The network learns `(value - centre) / scale`, so that one learning rate fits every unit.
    """

    centre: float = 0.0
    scale: float = 1.0
    half_width: float = 0.0  # of the interval, fitted on the validation split

    @property
    def names(self) -> list[str]:
        """Names of the outputs; files that are used together must have the same ones."""
        return []

    @property
    def width(self) -> int:
        return 1


def read(text: str) -> Answer:
    """Read an answer as examples have it.

    Raises:
        ValueError: it is not a finite number.
    """
    return Answer(value=float(text))


def write(answer: Answer) -> str:
    """Write an answer as examples and the journal have it."""
    return repr(answer.value)


def fit_head(answers: Sequence[Answer], schema: ProblemSchema) -> Head:
    """Return the head of a model that is trained on these answers."""
    if not answers:
        return Head()
    values = np.array([answer.value for answer in answers])
    return Head(centre=float(values.mean()), scale=float(values.std()) or 1.0)


def encode(answers: Sequence[Answer], head: Head) -> np.ndarray:
    """Return the correct answers in the form of metrics: numbers, float64 (n, 1)."""
    return np.array([[answer.value] for answer in answers])


def decode(scores: np.ndarray, head: Head) -> np.ndarray:
    """Return numbers in the unit of the answers. In the graph, int8 would leave 256 of them."""
    return scores.astype(np.float64) * head.scale + head.centre


def interval_unit(outputs: np.ndarray, head: Head) -> np.ndarray:
    """Return the unit of the width of intervals, float64 (n, 1): that of the answers."""
    return np.ones_like(outputs)


def half_widths(outputs: np.ndarray, head: Head) -> np.ndarray:
    """Return half the width of the interval around each number, float64 (n, 1)."""
    return np.full_like(outputs, head.half_width)


def with_intervals(head: Head, half_widths: np.ndarray) -> Head:
    """Return a head with these half widths, (1,) in `interval_unit`."""
    return head.model_copy(update={"half_width": float(half_widths[0])})


def to_answers(outputs: np.ndarray, head: Head) -> list[dict[str, Any]]:
    """Return the fields of `Predicted` for each row."""
    half = head.half_width
    return [{"value": v, "low": v - half, "high": v + half} for v in outputs[:, 0].tolist()]


def from_answers(said: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return outputs and ends of intervals, (3, n, 1), for fields of `Predicted`."""
    rows = [[[each[name]] for each in said] for name in ("value", "low", "high")]
    return np.array(rows, dtype=np.float64)


def to_tensors(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the elements of `TENSORS` for the answer of a model."""
    return {name: answer[name] for name, _ in TENSORS}


def signals(outputs: np.ndarray, head: Head) -> dict[str, np.ndarray]:
    """Return the values of `SIGNALS`, each a float array (n,)."""
    return {"answer": outputs[:, 0]}


def agree(first: np.ndarray, second: np.ndarray, head: Head, limits: ProblemScope) -> np.ndarray:
    """Return in which rows two outputs are at most `same_within` apart, bool (n,)."""
    allowed = [limits.allow(limits.same_within, value) for value in second[:, 0].tolist()]
    return np.asarray(np.abs(first - second)[:, 0] <= np.array(allowed))


def difference(first: np.ndarray, second: np.ndarray, head: Head) -> float:
    """Return how far two runtimes are apart, as a share of the spread of the training answers."""
    return float(np.abs(first - second).max() / head.scale)


def is_same(first: Mapping[str, Any], second: Mapping[str, Any], limits: ProblemScope) -> bool:
    """Whether the answers of two models are at most `max_error` apart."""
    values = first.get("value"), second.get("value")
    if values[0] is None or values[1] is None:  # a decision without a prediction
        return values[0] is values[1]
    return bool(abs(values[0] - values[1]) <= limits.allow(limits.max_error, values[1]))


def shift(first: Mapping[str, Any], second: Mapping[str, Any], limits: ProblemScope) -> float:
    """Return how far the answers of two models are apart, in multiples of `max_error`."""
    allowed = limits.allow(limits.max_error, second["value"])
    return float(abs(first["value"] - second["value"]) / max(allowed, np.finfo(float).tiny))


def is_right(truth: Answer, answer: Mapping[str, Any]) -> bool:
    """Whether the correct answer is in the interval of a model."""
    return bool(answer["low"] <= truth.value <= answer["high"])


def to_journal(answer: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return the columns `label` and `confidence` of the journal for the answer of a model."""
    return json.dumps({name: answer[name] for name in Predicted.model_fields}), None


def from_journal(label: str, confidence: float | None) -> dict[str, Any]:
    """Return the answer of a model that is in these columns; empty if they are damaged."""
    return read_journal(label, Predicted)


def is_of(answer: Mapping[str, Any], head: Head) -> bool:
    """Whether a model with this head can give such an answer."""
    return bool(answer)


def find_fault(answer: Answer, heads: Sequence[Head]) -> Refusal | None:
    """Return the rule that a correct answer breaks; any finite number is possible."""
    return None
