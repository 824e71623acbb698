"""What one answer is: the next values of a series. It needs only NumPy and pydantic.

`outputs` are the decoded outputs of a model: here numbers in the unit of the series, float64
(n, horizon).
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field

from ..refusal import Refusal
from .keys import MAX_HORIZON, ProblemSchema, ProblemScope
from .unnamed import COLUMN as COLUMN
from .unnamed import CONFIDENCE_TYPE as CONFIDENCE_TYPE
from .unnamed import MAX_SIZE, read_journal
from .unnamed import SIGNALS as SIGNALS
from .unnamed import count_name as count_name
from .unnamed import count_names as count_names
from .unnamed import is_signal as is_signal
from .unnamed import list_said as list_said

# Tensors of the Open Inference Protocol: the name, which is a field of an answer, and the datatype.
TENSORS = (("values", "FP32"), ("low", "FP32"), ("high", "FP32"))
TENSOR_SHAPE = [-1, -1]  # payloads, steps
EXAMPLE = {"values": [12.5, 13.0]}
ENOUGH = 0.5  # share of the values in their interval in an answer that is right

Number = Annotated[float, Field(ge=-MAX_SIZE, le=MAX_SIZE, allow_inf_nan=False)]


class Answer(BaseModel):
    """A correct answer, as clients send it: the values of the next steps, in their order."""

    values: list[Number] = Field(min_length=1, max_length=MAX_HORIZON)


class Predicted(Answer):
    """The answer of a model, as clients receive it, and the interval around each value."""

    low: list[float]
    high: list[float]


class Head(BaseModel, frozen=True):
    """What a model file says of its outputs. Each field is an entry of its metadata.

    The network sees and returns `(value - centre) / scale`, so that one learning rate fits every
    unit.
    """

    horizon: int = 1
    season: int = 1
    centre: float = 0.0
    scale: float = 1.0
    naive_error: float = 1.0  # of repeating the last season, on the training values
    half_widths: list[float] = []  # of the intervals, in `interval_unit`; fitted on validation

    @property
    def names(self) -> list[str]:
        """Names of the outputs; files that are used together must have the same ones."""
        return []

    @property
    def width(self) -> int:
        return self.horizon


def read(text: str) -> Answer:
    """Read an answer as examples have it.

    Raises:
        ValueError: it is not a JSON list of finite numbers.
    """
    return Answer(values=json.loads(text))


def write(answer: Answer) -> str:
    """Write an answer as examples and the journal have it."""
    return json.dumps(answer.values)


def fit_head(answers: Sequence[Answer], schema: ProblemSchema) -> Head:
    """Return the head of a model. All of it is in `schema.yaml`, which `ingest` fills in."""
    known = schema.values
    return Head(
        horizon=schema.horizon,
        season=schema.season,
        centre=known.centre,
        scale=known.spread,
        naive_error=known.naive_error,
    )


def encode(answers: Sequence[Answer], head: Head) -> np.ndarray:
    """Return the correct answers in the form of metrics: numbers, float64 (n, horizon)."""
    return np.array([answer.values for answer in answers]).reshape(len(answers), head.width)


def decode(scores: np.ndarray, head: Head) -> np.ndarray:
    """Return numbers in the unit of the series. In the graph, int8 would leave 256 of them."""
    return scores.astype(np.float64) * head.scale + head.centre


def interval_unit(outputs: np.ndarray, head: Head) -> np.ndarray:
    """Return the unit of the width of intervals, float64 (n, 1).

    It grows with the size of the answer, because one model forecasts large and small series. The
    usual change between two seasons keeps it above 0.
    """
    return np.asarray(np.abs(outputs).mean(axis=1, keepdims=True) + head.naive_error)


def half_widths(outputs: np.ndarray, head: Head) -> np.ndarray:
    """Return half the width of the interval around each value, float64 (n, horizon)."""
    shares = head.half_widths or [0.0] * head.width
    return np.asarray(interval_unit(outputs, head) * np.array(shares))


def with_intervals(head: Head, half_widths: np.ndarray) -> Head:
    """Return a head with these half widths, (horizon,) in `interval_unit`."""
    return head.model_copy(update={"half_widths": half_widths.tolist()})


def to_answers(outputs: np.ndarray, head: Head) -> list[dict[str, Any]]:
    """Return the fields of `Predicted` for each row."""
    half = half_widths(outputs, head)
    rows = zip(outputs.tolist(), (outputs - half).tolist(), (outputs + half).tolist(), strict=True)
    return [dict(zip(Predicted.model_fields, row, strict=True)) for row in rows]


def from_answers(said: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return outputs and ends of intervals, (3, n, horizon), for fields of `Predicted`."""
    return np.array([[each[name] for each in said] for name in Predicted.model_fields])


def to_tensors(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the elements of `TENSORS` for the answer of a model."""
    return {name: answer[name] for name, _ in TENSORS}


def signals(outputs: np.ndarray, head: Head) -> dict[str, np.ndarray]:
    """Return the values of `SIGNALS`, each a float array (n,)."""
    return {"answer": outputs.mean(axis=1)}


def agree(first: np.ndarray, second: np.ndarray, head: Head, limits: ProblemScope) -> np.ndarray:
    """Return in which rows two outputs are at most `same_within` apart on average, bool (n,)."""
    allowed = limits.same_within * half_widths(second, head).mean(axis=1)
    return np.asarray(np.abs(first - second).mean(axis=1) <= allowed)


def difference(first: np.ndarray, second: np.ndarray, head: Head) -> float:
    """Return how far two runtimes are apart, as a share of the spread of the training values."""
    return float(np.abs(first - second).max() / head.scale)


def is_same(first: Mapping[str, Any], second: Mapping[str, Any], limits: ProblemScope) -> bool:
    """Whether the answers of two models are apart by less than their intervals are wide."""
    if first.get("values") is None or second.get("values") is None:  # without a prediction
        return first.get("values") is second.get("values")
    return shift(first, second, limits) <= 1


def shift(first: Mapping[str, Any], second: Mapping[str, Any], limits: ProblemScope) -> float:
    """Return how far two answers are apart on average, in half widths of their intervals."""
    if len(first["values"]) != len(second["values"]):
        return math.inf
    widths = [np.subtract(each["high"], each["low"]) for each in (first, second) if "low" in each]
    half = float(np.mean(widths)) / 2
    apart = float(np.abs(np.subtract(first["values"], second["values"])).mean())
    return apart / max(half, float(np.finfo(float).tiny))


def is_right(truth: Answer, answer: Mapping[str, Any]) -> bool:
    """Whether at least half of the correct values are in the intervals of a model."""
    ends = zip(truth.values, answer["low"], answer["high"], strict=False)
    inside = [low <= value <= high for value, low, high in ends]
    return bool(sum(inside) >= ENOUGH * len(inside))


def to_journal(answer: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return the columns `label` and `confidence` of the journal for the answer of a model."""
    return json.dumps({name: answer[name] for name in Predicted.model_fields}), None


def from_journal(label: str, confidence: float | None) -> dict[str, Any]:
    """Return the answer of a model that is in these columns; empty if they are damaged."""
    return read_journal(label, Predicted)


def is_of(answer: Mapping[str, Any], head: Head) -> bool:
    """Whether a model with this head can give such an answer."""
    return len(answer.get("values", ())) == head.width


def find_fault(answer: Answer, heads: Sequence[Head]) -> Refusal | None:
    """Return the rule that a correct answer breaks: it has as many values as a forecast."""
    lengths = sorted({head.width for head in heads})
    if not lengths or len(answer.values) in lengths:
        return None
    wanted = " or ".join(map(str, lengths))
    rule = f"{wanted} values, one for each step of the forecast"
    return Refusal("values", answer.values, rule, [12.5] * lengths[0])
