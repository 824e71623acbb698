"""How many examples of a label are needed, in all and in each split."""

from collections.abc import Sequence

SCHEMA = "schema.yaml"
# Two of 20 are in the validation split on average.
MIN_EXAMPLES_PER_LABEL = 20
# With so many examples, one is in the split with 95 % probability: log(0.05) / log(1 - share).
NEEDED = {"validation": 29, "test": 14, "train": 3}
SPLITS = ("train", "validation", "test")


def describe_rare(label: str, n: int, what: str = "") -> str:
    """Say that only `n` examples have a label; `what` may say which examples, like "with it"."""
    examples = f"examples {what}".strip()
    more = MIN_EXAMPLES_PER_LABEL - n
    return f"label {label}: {n} of at least {MIN_EXAMPLES_PER_LABEL} {examples}; add {more} more"


def describe_lacking(
    label: str, n: int, lacking: Sequence[str], different: int, by: str, place: str
) -> str:
    """Say that none of the `n` examples of a label is in some splits, and what would change that.

    `different` counts the groups or inputs of the label; `by` and `place` are of `split` in
    `schema.yaml`.
    """
    advice = _advise(lacking, different, by, place)
    return f"label {label}: none of {n} examples is in the {' or '.join(lacking)} split; {advice}"


def _advise(lacking: Sequence[str], different: int, by: str, place: str) -> str:
    if by == "group":
        return f"groups of this label ({place}): {different}; add groups, at least 3"
    if by == "time":
        return f"the splits are earlier and later times ({place}); add examples"
    if by in ("given", "function"):
        return f"change the splits that you give (split: {{by: {by}}} in {SCHEMA})"
    return f"add about {max(NEEDED[name] for name in lacking)} different ones"
