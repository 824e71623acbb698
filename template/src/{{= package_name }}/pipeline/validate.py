"""Check the raw data against its contract and its splits against each other; gates judge it."""

from collections import Counter, defaultdict
from itertools import product

from rich.progress import track

from ..artifacts import RAW, write_report
from ..examples import read_shards, split_of
from ..intake import take_in
from ..refusal import Refusal
from ..schema import fingerprint, load_schema
from ..task.features import features

SPLITS = ("train", "validation", "test")
FAILURES_SHOWN = 10


def validate() -> None:
    """Count what breaks the contract, leaks between splits, has two labels or lacks one.

    Examples that break the contract are counted by field, not named: a report is committed, and
    the values of an example may be personal data.

    Raises:
        SystemExit: a split has no example that can be used.
    """
    sizes: Counter[tuple[str, str]] = Counter()
    failures: Counter[str] = Counter()
    ids: Counter[str] = Counter()
    splits, labels = defaultdict(set), defaultdict(set)
    for example in track(list(read_shards(RAW)), "Validating"):
        ids[example.id] += 1
        try:
            intake = take_in(example.payload)
        except Refusal as error:
            failures[error.detail["field"]] += 1
            if failures.total() <= FAILURES_SHOWN:
                print(f"{RAW}: example {example.id} breaks the contract. {error}")
            continue
        split = split_of(example.id)
        sizes[split, example.label] += 1
        seen = fingerprint(features(intake.raw))
        splits[seen].add(split)
        labels[seen].add(example.label)
    pairs = list(product(SPLITS, load_schema().labels))
    for split in SPLITS:
        if not any(sizes[pair] for pair in pairs if pair[0] == split):
            raise SystemExit(f"The {split} split has no usable example; add data.")
    missing = [f"{label} in {split}" for split, label in pairs if not sizes[split, label]]
    report = {
        "examples": ids.total(),
        "contract_failures": failures.total(),
        "contract_failures_by_field": dict(failures.most_common()),
        "missing_labels": len(missing),
        "missing": missing,
        "repeated_ids": ids.total() - len(ids),
        "leaks": sum(len(seen_in) > 1 for seen_in in splits.values()),
        "label_conflicts": sum(len(given) > 1 for given in labels.values()),
    }
    write_report("validate", report)
