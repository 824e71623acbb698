"""Whether there are enough windows in every split, and whether they are divided by time."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ..refusal import Refusal
from .answer import read
from .counts import check_column as check_column
from .counts import find_missing as find_missing
from .counts import find_small_splits, summarize_values
from .counts import list_labels as list_labels
from .keys import ProblemScope

SHOWN = 3


def strata(found: Sequence[str]) -> list[str]:
    """Return a name for each answer. A split by time has no seed to choose: all have the same."""
    return [""] * len(found)


def summarize(found: Sequence[str]) -> dict[str, Any]:
    """Return the entry of `reports/ingest.json` about the answers: the range of their values."""
    return summarize_values(np.concatenate([read(text).values for text in found]))


def describe(text: str) -> str:
    """Return the answer of an example in words."""
    values = read(text).values
    more = f" and {len(values) - SHOWN} more values" if len(values) > SHOWN else ""
    return f"followed by {', '.join(f'{value:g}' for value in values[:SHOWN])}{more}"


def find_advice(found: Sequence[str], splits: Sequence[str]) -> str:
    """Return what to consider about these answers: nothing, each window has its own scale."""
    return ""


def is_conflict(given: Collection[str], limits: ProblemScope) -> bool:
    """Whether the answers for one input exclude each other: the future is not decided."""
    return False


def find_problems(
    found: Sequence[str],
    keys: Sequence[str],
    splits: Sequence[str],
    labels: Sequence[str],
    by: str,
    place: str,
) -> list[str]:
    """Describe splits with too few windows, and a split that is not by time.

    `found`, `keys` and `splits` have one entry per example. `by` and `place` are of `split` in
    `schema.yaml`.
    """
    if by != "time":
        rule = "by: time, with the column of times: other splits would train on the future"
        return [str(Refusal("split", by, rule, "{by: time, column: day}"))]
    return find_small_splits(splits, by, place)
