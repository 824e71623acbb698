"""Whether every label has enough examples, in every split."""

from collections import Counter
from collections.abc import Sequence

from ..refusal import Refusal
from ..schema import SCHEMA, load_schema

# Two of 20 are in the validation split on average.
MIN_EXAMPLES_PER_LABEL = 20
# With so many examples, one is in the split with 95 % probability: log(0.05) / log(1 - share).
NEEDED = {"validation": 29, "test": 14, "train": 3}


def find_label_problems(
    found: Sequence[str], keys: Sequence[str], splits: Sequence[str], labels: Sequence[str]
) -> list[str]:
    """Describe all labels that are unknown, rare, or missing from a split.

    `found`, `keys` and `splits` have one entry per example; without `splits`, only numbers count.
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
            more = MIN_EXAMPLES_PER_LABEL - n
            rule = f"{n} of at least {MIN_EXAMPLES_PER_LABEL} examples; add {more} more"
            problems.append(f"label {label}: {rule}")
        elif lacking and splits:
            different = {key for key, other in zip(keys, found, strict=True) if other == label}
            rule = f"none of {n} examples is in the {' or '.join(lacking)} split"
            problems.append(f"label {label}: {rule}; {_advise(lacking, len(different))}")
    return problems


def _advise(lacking: Sequence[str], different: int) -> str:
    """Say what would put examples of a label into the splits that have none."""
    split = load_schema().split
    if split.by == "group":
        return f"groups of this label ({split.place}): {different}; add groups, at least 3"
    if split.by == "time":
        return f"the splits are earlier and later times ({split.place}); add examples"
    if split.by in ("given", "function"):
        return f"change the splits that you give (split: {{by: {split.by}}} in {SCHEMA})"
    return f"add about {max(NEEDED[name] for name in lacking)} different ones"
