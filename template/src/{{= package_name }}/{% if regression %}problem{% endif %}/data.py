"""Whether there are enough numbers, in every split, and over the same range."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ..refusal import Refusal
from .answer import MAX_SIZE
from .counts import check_column as check_column
from .counts import find_missing as find_missing
from .counts import find_small_splits, summarize_values
from .counts import list_labels as list_labels
from .keys import ProblemScope

QUARTERS = 4
SHOWN = 3
TO_LABELS = "`poc2prod update --to current --answer problem=classification`"


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
    return summarize_values(np.array([parse(text) for text in found]))


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
    return find_small_splits(splits, by, place)
