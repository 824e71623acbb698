"""Compute the features of each example, with the same functions as in production."""

import numpy as np
from rich.progress import track

from ..artifacts import FEATURES, RAW
from ..examples import count_examples, digest, read_shards
from ..intake import take_in
from ..refusal import Refusal
from ..schema import load_schema
from ..task.features import features


def featurize() -> None:
    """Write features, facts, label, slice and split of all valid examples to one file.

    Invalid examples are skipped: `validate` counts them, and the gate `contract` fails.
    """
    labels = load_schema().labels
    x, y, slices, splits, facts = [], [], [], [], []
    names = list[str]()
    for example in track(read_shards(RAW), "Computing features", count_examples(RAW)):
        try:
            intake = take_in(example.payload)
        except Refusal:
            continue
        x.append(features(intake.raw).astype(np.float32))
        y.append(labels.index(example.label))
        slices.append(example.slice)
        splits.append(example.split)
        facts.append(list(intake.facts.values()))
        names = list(intake.facts)
    FEATURES.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        FEATURES,
        x=np.stack(x),
        y=np.array(y),
        labels=np.array(labels),
        slice=np.array(slices),
        split=np.array(splits),
        facts=np.array(facts, dtype=np.float64),
        fact_names=np.array(names),
        data_sha256=np.array(digest(read_shards(RAW))),
    )
