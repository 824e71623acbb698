"""Whether every label has enough examples, in every split."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..refusal import Refusal, is_amount, reject_amounts
from .examples_per_label import (
    MIN_EXAMPLES_PER_LABEL,
    NEEDED,
    SPLITS,
    describe_lacking,
    describe_rare,
)
from .keys import ProblemScope


def list_labels(found: Collection[str]) -> list[str]:
    """Return the labels for `schema.yaml`."""
    return sorted(set(found))


def check_column(name: str, labels: Sequence[str], listed: Sequence[str]) -> None:
    """Check the labels in a column of a table; `listed` are those that `schema.yaml` had before.

    Raises:
        Refusal: they are amounts, or there is only one.
    """
    if len(labels) < 2:
        raise Refusal(name, labels, "at least two labels", ["no", "yes"])
    reject_amounts(name, labels, listed)


def strata(found: Sequence[str]) -> list[str]:
    """Return a name for each answer; examples of each name should be in every split."""
    return list(found)


def summarize(found: Sequence[str]) -> dict[str, Any]:
    """Return the entry of `reports/ingest.json` about the answers: the examples of each label."""
    return {"labels": dict(sorted(Counter(found).items()))}


def describe(text: str) -> str:
    """Return the answer of an example in words."""
    return text


def find_advice(found: Sequence[str], splits: Sequence[str]) -> str:
    """Return what to consider about these answers, or an empty string."""
    labels = set(found)
    if len(labels) > 2 and all(map(is_amount, labels)):
        return (
            "Each label is a class: predicting 3 for 4 is as wrong as 0. To predict the"
            " number itself: `poc2prod update --to current --answer problem=regression`."
        )
    return ""


def is_conflict(given: Collection[str], limits: ProblemScope) -> bool:
    """Whether the answers for one input contradict each other."""
    return len(set(given)) > 1


def find_missing(counts: Mapping[tuple[str, str], int], labels: Sequence[str]) -> list[str]:
    """List what is missing from a split; `counts` are by split and answer."""
    pairs = [(split, label) for split in SPLITS for label in labels]
    return [f"{label} in {split}" for split, label in pairs if not counts.get((split, label))]


def find_problems(
    found: Sequence[str],
    keys: Sequence[str],
    splits: Sequence[str],
    labels: Sequence[str],
    by: str,
    place: str,
) -> list[str]:
    """Describe all labels that are unknown, rare, or missing from a split.

    `found`, `keys` and `splits` have one entry per example; without `splits`, only numbers count.
    `by` and `place` are of `split` in `schema.yaml`.
    """
    counts = Counter(found)
    if len(counts) < 2:
        return [str(Refusal("labels", sorted(counts), "at least two labels", ["good", "bad"]))]
    problems = []
    if unknown := sorted(counts.keys() - set(labels)):
        rule = "only labels in schema.yaml (new data: `ingest PATH`)"
        problems.append(str(Refusal("labels", unknown, rule, labels[0])))
    in_splits = set(zip(found, splits, strict=False))
    for label in labels:
        n = counts.get(label, 0)
        lacking = [split for split in NEEDED if (label, split) not in in_splits]
        if n < MIN_EXAMPLES_PER_LABEL:
            problems.append(describe_rare(label, n))
        elif lacking and splits:
            different = {key for key, other in zip(keys, found, strict=True) if other == label}
            problems.append(describe_lacking(label, n, lacking, len(different), by, place))
    return problems
