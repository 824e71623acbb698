"""What one answer is: any of several labels, or none. It needs only NumPy and pydantic.

`outputs` are the decoded outputs of a model: here a score per label, float32 (n, labels). A label
belongs to the answer if its score is at least `LINE`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, model_validator

from ..refusal import Refusal
from .keys import ProblemSchema, ProblemScope

SEPARATOR = "|"  # between labels in the text of an answer
NONE = "-"  # the text of an answer without labels: an empty cell could also mean "not labelled"
LINE = 0.5  # for every label: thresholds are part of the scores
SIGNALS = ("confidence", "label_count")  # of answers, which drift monitoring watches,
LABEL_SIGNAL = "label:"  # and one for each label, with this prefix: whether the answer has it
# Tensors of the Open Inference Protocol: the name, and the datatype. Both contain JSON.
TENSORS = (("labels", "BYTES"), ("scores", "BYTES"))
TENSOR_SHAPE = [-1]  # payloads
EXAMPLE = {"labels": ["one label", "another label"]}
COLUMN = "labels"  # kind of a column of a table that holds the answers
CONFIDENCE_TYPE = "real"  # of the column `confidence` of the journal


class Answer(BaseModel):
    """A correct answer, as clients send it. An empty list is a correct answer, too."""

    labels: list[str]


class Predicted(Answer):
    """The answer of a model, as clients receive it: the labels whose score is 0.5 or more."""

    scores: dict[str, float]


class Head(BaseModel, frozen=True):
    """What a model file says of its outputs. Each field is an entry of its metadata."""

    labels: list[str]
    thresholds: list[float] = []  # of the probability of each label, fitted on validation

    @model_validator(mode="after")
    def _check_thresholds(self) -> "Head":
        if self.thresholds and len(self.thresholds) != len(self.labels):
            raise ValueError(f"{len(self.thresholds)} thresholds, {len(self.labels)} labels")
        if not all(0 < threshold < 1 for threshold in self.thresholds):
            raise ValueError("thresholds are between 0 and 1")
        return self

    @property
    def names(self) -> list[str]:
        """Names of the outputs; files that are used together must have the same ones."""
        return self.labels

    @property
    def width(self) -> int:
        return len(self.labels)

    @property
    def offsets(self) -> np.ndarray:
        """Logits of the thresholds, float32 (labels,)."""
        at = np.array(self.thresholds or [LINE] * self.width, np.float32)
        return np.asarray(np.log(at / (1 - at)))


def read(text: str) -> Answer:
    """Read an answer as examples have it: labels with `|` between them, or `-` for none.

    Raises:
        ValueError: a label is empty.
    """
    names = [] if text == NONE else [name.strip() for name in text.split(SEPARATOR)]
    if not all(names):
        raise ValueError(f"{text!r} has an empty label; no label at all is {NONE!r}")
    return Answer(labels=sorted(set(names)))


def write(answer: Answer) -> str:
    """Write an answer as examples and the journal have it."""
    return SEPARATOR.join(sorted(set(answer.labels))) or NONE


def fit_head(answers: Sequence[Answer], schema: ProblemSchema) -> Head:
    """Return the head of a model that is trained on these answers."""
    return Head(labels=schema.labels)


def encode(answers: Sequence[Answer], head: Head) -> np.ndarray:
    """Return the correct answers in the form of metrics: 0 and 1, float32 (n, labels).

    Raises:
        ValueError: an answer has a label that the head lacks.
    """
    truth = np.zeros((len(answers), head.width), np.float32)
    for row, answer in zip(truth, answers, strict=True):
        row[[head.labels.index(label) for label in answer.labels]] = 1
    return truth


def decode(scores: np.ndarray, head: Head) -> np.ndarray:
    """Turn logits (n, labels) into probabilities, moved so that each threshold is at `LINE`.

    So clients need no thresholds. In the graph, int8 would round them. The hyperbolic tangent is a
    sigmoid that does not overflow.
    """
    return np.asarray(0.5 + 0.5 * np.tanh((scores - head.offsets) / 2))


def to_answers(outputs: np.ndarray, head: Head) -> list[dict[str, Any]]:
    """Return the fields of `Predicted` for each row."""
    scored = [dict(zip(head.labels, row, strict=True)) for row in outputs.tolist()]
    return [
        {"labels": [name for name, score in scores.items() if score >= LINE], "scores": scores}
        for scores in scored
    ]


def to_tensors(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the elements of `TENSORS` for the answer of a model."""
    return {name: json.dumps(answer[name], ensure_ascii=False) for name, _ in TENSORS}


def find_confidence(outputs: np.ndarray) -> np.ndarray:
    """Return how sure the least sure label is, from 0.5 to 1, float (n,)."""
    return np.asarray(np.maximum(outputs, 1 - outputs).min(axis=1))


def signals(outputs: np.ndarray, head: Head) -> dict[str, np.ndarray]:
    """Return the values of all signals, each a float array (n,)."""
    has = (outputs >= LINE).astype(np.float64)
    by_label = {f"{LABEL_SIGNAL}{name}": has[:, i] for i, name in enumerate(head.labels)}
    return {"confidence": find_confidence(outputs), "label_count": has.sum(axis=1)} | by_label


def is_signal(name: str) -> bool:
    """Whether drift monitoring uses this name for a signal of answers."""
    return name in SIGNALS or name.startswith(LABEL_SIGNAL)


def agree(first: np.ndarray, second: np.ndarray, head: Head, limits: ProblemScope) -> np.ndarray:
    """Return in which rows two outputs give the same set of labels, bool (n,)."""
    return np.asarray(((first >= LINE) == (second >= LINE)).all(axis=1))


def difference(first: np.ndarray, second: np.ndarray, head: Head) -> float:
    """Return how far two runtimes are apart: the largest difference of a score."""
    return float(np.abs(first - second).max())


def is_same(first: Mapping[str, Any], second: Mapping[str, Any], limits: ProblemScope) -> bool:
    """Whether the answers of two models have the same labels."""
    labels = first.get("labels"), second.get("labels")
    if labels[0] is None or labels[1] is None:  # a decision without a prediction
        return labels[0] is labels[1]
    return set(labels[0]) == set(labels[1])


def shift(first: Mapping[str, Any], second: Mapping[str, Any], limits: ProblemScope) -> float:
    """Return how far the answers of two models are apart: the mean change of a score.

    Only labels that both models have are compared.
    """
    scores = first["scores"], second["scores"]
    changes = [abs(scores[0][name] - scores[1][name]) for name in scores[0].keys() & scores[1]]
    return float(np.mean(changes)) if changes else 1.0


def is_right(truth: Answer, answer: Mapping[str, Any]) -> bool:
    """Whether at least as many labels of an answer are right as are missed or false.

    The whole set would be too strict for `min_metric`: with ten labels, each right in 99 of 100
    cases, one of ten sets has a mistake.
    """
    correct, said = set(truth.labels), set(answer["labels"])
    return len(correct & said) >= len(correct ^ said)


def count_names(head: Head) -> list[str]:
    """Return the values of the label of the counter `predictions_total`: one, for any set."""
    return [""]


def count_name(answer: Mapping[str, Any]) -> str:
    """Return under which of these an answer is counted."""
    return ""


def list_said(answer: Mapping[str, Any]) -> list[str]:
    """Return the labels of an answer, which a second counter counts: see `words.SAID_COUNTER`."""
    return list(answer["labels"])


def to_journal(answer: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return the columns `label` and `confidence` of the journal for the answer of a model."""
    text = json.dumps({name: answer[name] for name in Predicted.model_fields}, ensure_ascii=False)
    return text, min(max(score, 1 - score) for score in answer["scores"].values())


def from_journal(label: str, confidence: float | None) -> dict[str, Any]:
    """Return the answer of a model that is in these columns; empty if they are damaged."""
    try:
        return Predicted.model_validate_json(label).model_dump()
    except ValueError:
        return {}


def is_of(answer: Mapping[str, Any], head: Head) -> bool:
    """Whether a model with this head can give such an answer."""
    return bool(answer) and list(answer["scores"]) == head.labels


def find_fault(answer: Answer, heads: Sequence[Head]) -> Refusal | None:
    """Return the rule that a correct answer breaks if these models lack one of its labels."""
    known = list(dict.fromkeys(label for head in heads for label in head.labels))
    unknown = [label for label in answer.labels if label not in known]
    if not unknown:
        return None
    rule = f"only labels of the model, or an empty list: {', '.join(known)}"
    return Refusal("labels", unknown, rule, known[:1])
