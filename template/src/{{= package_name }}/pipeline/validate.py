"""Raw data in, evidence out: does it keep its contract, and do the splits keep apart?"""

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


def validate() -> None:
    """Check every example; count what the gates judge: leaks, label conflicts, split sizes.

    Raises:
        SystemExit: an example breaks the contract, or a split lacks a label.
    """
    sizes: Counter[tuple[str, str]] = Counter()
    splits, labels, ids = defaultdict(set), defaultdict(set), set()
    for example in track(list(read_shards(RAW)), "Validating"):
        try:
            intake = take_in(example.payload)
        except Refusal as error:
            raise SystemExit(f"{RAW}: example {example.id} breaks the contract. {error}") from None
        split = split_of(example.id)
        sizes[split, example.label] += 1
        twin = fingerprint(features(intake.raw))
        splits[twin].add(split)
        labels[twin].add(example.label)
        ids.add(example.id)
    for pair in product(SPLITS, load_schema().labels):
        if not sizes[pair]:
            raise SystemExit("The {} split has no example of {}; add data.".format(*pair))
    report = {
        "examples": sizes.total(),
        "repeated_ids": sizes.total() - len(ids),
        "leaks": sum(len(seen) > 1 for seen in splits.values()),
        "label_conflicts": sum(len(given) > 1 for given in labels.values()),
    }
    write_report("validate", report)
