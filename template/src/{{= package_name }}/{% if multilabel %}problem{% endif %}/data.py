"""Whether every label has enough examples, in every split."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..refusal import Refusal
from .answer import NONE, SEPARATOR, read, write
from .examples_per_label import (
    MIN_EXAMPLES_PER_LABEL,
    NEEDED,
    SPLITS,
    describe_lacking,
    describe_rare,
)
from .keys import ProblemScope

SEPARATORS = (SEPARATOR, ";", ",")  # that a column may use, one of them
SHOWN = 3
TO_CLASSIFICATION = "`poc2prod update --to current --answer problem=classification`"
EXAMPLE = f"glare{SEPARATOR}scratch"


def normalize(field: str, texts: Sequence[str]) -> list[str]:
    """Return the answers of a source as `answer.write` would write them.

    The labels of an answer have `|`, `;` or `,` between them, the same one in all answers.

    Raises:
        Refusal: an answer is empty, has an empty label, or there are several separators.
    """
    used = [each for each in SEPARATORS if any(each in text for text in texts)]
    if len(used) > 1:
        rule = f"one separator between labels, not {' and '.join(map(repr, used))}"
        mixed = [text for text in texts if used[-1] in text]
        raise Refusal(field, mixed[0], rule, EXAMPLE)
    answers = [SEPARATOR.join(text.split(used[0])) if used else text for text in texts]
    for text, answer in zip(texts, answers, strict=True):
        if text.strip() == NONE:
            continue
        names = [name.strip() for name in answer.split(SEPARATOR)]
        if not text.strip():
            rule = (
                f"labels with {SEPARATOR!r} between them; {NONE!r} if none of the labels is right,"
                " because an empty cell may mean not labelled"
            )
            raise Refusal(field, text, rule, NONE)
        if not all(names) or NONE in names:
            rule = f"labels with {SEPARATOR!r} between them, or {NONE!r} for none"
            raise Refusal(field, text, rule, EXAMPLE)
    return [write(read(answer.strip())) for answer in answers]


def list_labels(found: Collection[str]) -> list[str]:
    """Return the labels for `schema.yaml`: each that an answer has."""
    return sorted({name for text in set(found) for name in read(text).labels})


def check_column(name: str, labels: Sequence[str], listed: Sequence[str]) -> None:
    """Check the labels in a column of a table; `listed` are those that `schema.yaml` had before.

    Raises:
        Refusal: there is only one.
    """
    if len(labels) < 2:
        rule = f"at least two labels; one label is yes or no: {TO_CLASSIFICATION}"
        raise Refusal(name, labels, rule, EXAMPLE)


def strata(found: Sequence[str]) -> list[str]:
    """Return a name for each answer; examples of each name should be in every split.

    An answer belongs to its rarest label: the others are in every split because they are frequent.
    """
    sets = [read(text).labels for text in found]
    counts = Counter(name for names in sets for name in names)
    return [min(names, key=lambda name: (counts[name], name), default="") for names in sets]


def summarize(found: Sequence[str]) -> dict[str, Any]:
    """Return entries of `reports/ingest.json` about the answers: the examples of each label."""
    sets = [read(text).labels for text in found]
    sizes = Counter(len(names) for names in sets)
    return {
        "labels": dict(sorted(Counter(name for names in sets for name in names).items())),
        "labels_per_example": {str(size): n for size, n in sorted(sizes.items())},
    }


def describe(text: str) -> str:
    """Return the answer of an example in words."""
    names = read(text).labels
    return " and ".join(names) if names else "none of the labels"


def find_advice(found: Sequence[str], splits: Sequence[str]) -> str:
    """Return what to consider about these answers, or an empty string."""
    if found and all(len(read(text).labels) == 1 for text in found):
        return (
            "Every example has exactly one label. If labels exclude each other:"
            f" {TO_CLASSIFICATION}."
        )
    return ""


def is_conflict(given: Collection[str], limits: ProblemScope) -> bool:
    """Whether one of the answers for an input has a label that another one lacks.

    Answers are written in one way only, so they are compared as texts.
    """
    return len(set(given)) > 1


def find_missing(counts: Mapping[tuple[str, str], int], labels: Sequence[str]) -> list[str]:
    """List what is missing from a split; `counts` are by split and answer."""
    present = {
        (split, name) for (split, text), n in counts.items() if n for name in read(text).labels
    }
    pairs = [(split, label) for split in SPLITS for label in labels]
    return [f"{label} in {split}" for split, label in pairs if (split, label) not in present]


def find_problems(
    found: Sequence[str],
    keys: Sequence[str],
    splits: Sequence[str],
    labels: Sequence[str],
    by: str,
    place: str,
) -> list[str]:
    """Describe all labels that are unknown, rare, on every example, or missing from a split.

    `found`, `keys` and `splits` have one entry per example; without `splits`, only numbers count.
    `by` and `place` are of `split` in `schema.yaml`.
    """
    sets = [read(text).labels for text in found]
    counts = Counter(name for names in sets for name in names)
    if len(counts) < 2:
        rule = f"at least two labels; one label is yes or no: {TO_CLASSIFICATION}"
        return [str(Refusal("labels", sorted(counts), rule, EXAMPLE))]
    problems = []
    if unknown := sorted(counts.keys() - set(labels)):
        rule = "only labels in schema.yaml (new data: `ingest PATH`)"
        problems.append(str(Refusal("labels", unknown[:SHOWN], rule, labels[0])))
    in_splits = {
        (name, split) for names, split in zip(sets, splits, strict=False) for name in names
    }
    for label in labels:
        n = counts[label]
        lacking = [split for split in NEEDED if (label, split) not in in_splits]
        rare, what = min((n, "with it"), (len(sets) - n, "without it"))
        if rare < MIN_EXAMPLES_PER_LABEL:
            problems.append(describe_rare(label, rare, what))
        elif lacking and splits:
            different = {key for key, names in zip(keys, sets, strict=True) if label in names}
            problems.append(describe_lacking(label, n, lacking, len(different), by, place))
    return problems
