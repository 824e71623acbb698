"""The parts of `data.py` for answers without labels: their range, and their number per split."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

# Two of 20 would be the 90 % quantile of the error: an interval needs at least as many.
MIN_EXAMPLES_PER_SPLIT = 20
SPLITS = ("train", "validation", "test")


def list_labels(found: Collection[str]) -> list[str]:
    """Return the labels for `schema.yaml`: numbers have none."""
    return []


def check_column(name: str, labels: Sequence[str], listed: Sequence[str]) -> None:
    """Check the labels in a column of a table: numbers have none."""


def summarize_values(values: np.ndarray) -> dict[str, Any]:
    """Return the entry of `reports/ingest.json` about the answers: their distribution."""
    cuts = {"smallest": 0, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "largest": 1}
    return {"answers": {name: float(f"{np.quantile(values, q):.6g}") for name, q in cuts.items()}}


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


def find_small_splits(splits: Sequence[str], by: str, place: str) -> list[str]:
    """Describe splits with too few examples; `by` and `place` are of `split` in `schema.yaml`."""
    sizes = Counter(splits)
    return [
        f"split {split}: {sizes[split]} of at least {MIN_EXAMPLES_PER_SPLIT} examples; "
        + (f"it is divided by {by}" + (f" ({place})" if place else "") + ": add examples")
        for split in SPLITS
        if splits and sizes[split] < MIN_EXAMPLES_PER_SPLIT
    ]
