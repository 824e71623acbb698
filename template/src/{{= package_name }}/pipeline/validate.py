"""Validate the raw data: invalid examples, copies in two splits, conflicting and missing labels."""

from collections import Counter, defaultdict

from rich.progress import track

from ..artifacts import RAW, write_report
from ..examples import count_examples, read_shards
from ..intake import take_in
from ..problem import data as problem_data
from ..refusal import Refusal
from ..schema import fingerprint, load_schema
from ..scope import load_scope
from ..task.features import features
from .near_copies import Signed, count_near_copies
from .similarity import sign

SPLITS = ("train", "validation", "test")
SHOWN = 10  # of each kind of problem


def validate() -> None:
    """Count the problems of each kind, and name the first examples.

    The report names examples by id, a path or row of the source, never by value: it is committed,
    and values may be personal data.

    Raises:
        SystemExit: a split has no valid example.
    """
    sizes: Counter[tuple[str, str]] = Counter()
    failures: Counter[str] = Counter()
    ids: Counter[str] = Counter()
    splits, labels, same = defaultdict(set), defaultdict(set), defaultdict(list)
    signed = list[Signed]()
    for example in track(read_shards(RAW), "Validating", count_examples(RAW)):
        ids[example.id] += 1
        try:
            intake = take_in(example.payload)
        except Refusal as error:
            failures[error.detail["field"]] += 1
            if failures.total() <= SHOWN:
                print(f"{RAW}: example {example.id} is invalid. {error}")
            continue
        split = example.split
        sizes[split, example.label] += 1
        seen = fingerprint(features(intake.raw))
        splits[seen].add(split)
        labels[seen].add(example.label)
        same[seen].append(f"{example.id} ({example.label}, {split})")
        signed.append(Signed(example.id, split, seen, sign(intake.raw)))
    in_splits = {split for split, _ in sizes}
    for split in SPLITS:
        if split not in in_splits:
            raise SystemExit(f"The {split} split has no valid example; add data.")
    missing = problem_data.find_missing(sizes, load_schema().labels)
    leaked = [", ".join(same[seen]) for seen, seen_in in splits.items() if len(seen_in) > 1]
    limits = load_scope()
    conflicting = [
        ", ".join(same[seen])
        for seen, given in labels.items()
        if problem_data.is_conflict(given, limits)
    ]
    repeated = [id for id, count in ids.items() if count > 1]
    near = count_near_copies(signed)
    problems = {
        "one input in several splits": leaked,
        "near copies in two splits": near["near_copied_examples"],
        "one input with conflicting labels": conflicting,
        "duplicate id": repeated,
    }
    for problem, cases in problems.items():
        for examples in cases[:SHOWN]:
            print(f"{RAW}: {problem}: {examples}")
    report = {
        "examples": ids.total(),
        "contract_failures": failures.total(),
        "contract_failures_by_field": dict(failures.most_common()),
        "missing_labels": len(missing),
        "missing": missing,
        "repeated_ids": ids.total() - len(ids),
        "leaks": sum(len(seen_in) > 1 for seen_in in splits.values()),
        "label_conflicts": len(conflicting),
        "leaked_examples": leaked[:SHOWN],
        "conflicting_examples": conflicting[:SHOWN],
        "repeated_examples": repeated[:SHOWN],
    } | near
    write_report("validate", report)
