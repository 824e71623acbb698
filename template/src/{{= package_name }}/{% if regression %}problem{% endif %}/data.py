"""Whether there are enough numbers, in every split, and over the same range."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..refusal import Refusal
from .answer import MAX_SIZE
from .keys import ProblemScope

# Two of 20 would be the 90 % quantile of the error: an interval needs at least as many.
MIN_EXAMPLES_PER_SPLIT = 20
QUARTERS = 4
SPLITS = ("train", "validation", "test")
SHOWN = 3
TO_LABELS = "`poc2prod update --to current --answer problem=classification`"


def list_labels(found: Collection[str]) -> list[str]:
    """Return the labels for `schema.yaml`: numbers have none."""
    return []


def check_column(name: str, labels: Sequence[str], listed: Sequence[str]) -> None:
    """Check the labels in a column of a table: numbers have none."""


def parse(text: str) -> float:
    """Return the number that a text is; NaN if it is not a usable one."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if abs(value) <= MAX_SIZE else math.nan


def strata(found: Sequence[str]) -> list[str]:
    """Return a name for each answer: its quarter. Each quarter should be in every split."""
    values = np.array([parse(text) for text in found])
    usable = values[np.isfinite(values)]
    if not len(usable):
        return ["" for _ in found]
    cuts = np.unique(np.quantile(usable, np.linspace(0, 1, QUARTERS + 1)[1:-1]))
    return [str(place) for place in np.searchsorted(cuts, values)]


def summarize(found: Sequence[str]) -> dict[str, Any]:
    """Return the entry of `reports/ingest.json` about the answers: their distribution."""
    values = np.array([parse(text) for text in found])
    cuts = {"smallest": 0, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "largest": 1}
    return {"answers": {name: float(f"{np.quantile(values, q):.6g}") for name, q in cuts.items()}}


def describe(text: str) -> str:
    """Return the answer of an example in words."""
    return text


def find_advice(found: Sequence[str], splits: Sequence[str]) -> str:
    """Return what to consider about these answers, or an empty string."""
    pairs = list(zip(map(parse, found), splits, strict=True))
    training = [value for value, split in pairs if split == "train"]
    tested = [value for value, split in pairs if split == "test"]
    low, high = min(training), max(training)
    if outside := sum(not low <= value <= high for value in tested):
        return (
            f"{outside} of {len(tested)} test answers are outside the range of the training"
            f" answers, {low:g} to {high:g}: a model cannot learn those."
        )
    return ""


def is_conflict(given: Collection[str], limits: ProblemScope) -> bool:
    """Whether the answers for one input are more than `same_within` apart."""
    values = [parse(text) for text in given]
    return max(values) - min(values) > limits.allow(limits.same_within, min(values, key=abs))


def find_missing(counts: Mapping[tuple[str, str], int], labels: Sequence[str]) -> list[str]:
    """List what is missing from a split; `counts` are by split and answer."""
    sizes = Counter[str]()
    for (split, _), count in counts.items():
        sizes[split] += count
    return [
        f"{MIN_EXAMPLES_PER_SPLIT - sizes[split]} examples in {split}"
        for split in SPLITS
        if sizes[split] < MIN_EXAMPLES_PER_SPLIT
    ]


def find_problems(
    found: Sequence[str],
    keys: Sequence[str],
    splits: Sequence[str],
    labels: Sequence[str],
    by: str,
    place: str,
) -> list[str]:
    """Describe answers that are not numbers, and splits with too few examples.

    `found`, `keys` and `splits` have one entry per example. `by` and `place` are of `split` in
    `schema.yaml`.
    """
    wrong = sorted({text for text in found if math.isnan(parse(text))})
    if wrong:
        rule = f"finite numbers; if they are names, the answer is a label: {TO_LABELS}"
        return [str(Refusal("answers", wrong[:SHOWN], rule, "12.5"))]
    distinct = sorted({parse(text) for text in found})
    if len(distinct) < 3:
        rule = f"at least 3 different numbers; fewer look like labels: {TO_LABELS}"
        return [str(Refusal("answers", distinct, rule, [1.5, 2.5, 4.0]))]
    sizes = Counter(splits)
    return [
        f"split {split}: {sizes[split]} of at least {MIN_EXAMPLES_PER_SPLIT} examples; "
        + (f"it is divided by {by}" + (f" ({place})" if place else "") + ": add examples")
        for split in SPLITS
        if splits and sizes[split] < MIN_EXAMPLES_PER_SPLIT
    ]
