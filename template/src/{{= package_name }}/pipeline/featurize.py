"""Compute the features of each example, with the same functions as in production."""

import numpy as np
from rich.progress import track

from ..artifacts import FEATURES, RAW
from ..examples import Example, digest, read_shards, split_of
from ..intake import Intake, take_in
from ..refusal import Refusal
from ..schema import load_schema
from ..task.features import features


def featurize() -> None:
    """Write features, facts, label, slice and split of all valid examples to one file."""
    labels = load_schema().labels
    raw = list(read_shards(RAW))
    pairs = _valid(raw)
    examples = [example for example, _ in pairs]
    intakes = [intake for _, intake in pairs]
    FEATURES.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        FEATURES,
        x=np.stack([features(intake.raw) for intake in intakes]).astype(np.float32),
        y=np.array([labels.index(example.label) for example in examples]),
        slice=np.array([example.slice for example in examples]),
        split=np.array([split_of(example.id) for example in examples]),
        facts=np.array([list(intake.facts.values()) for intake in intakes], dtype=np.float64),
        fact_names=np.array(list(intakes[0].facts)),
        data_sha256=np.array(digest(raw)),
    )


def _valid(examples: list[Example]) -> list[tuple[Example, Intake]]:
    """Skip invalid examples: `validate` counts them, and the gate `contract` fails."""
    pairs = []
    for example in track(examples, "Computing features"):
        try:
            pairs.append((example, take_in(example.payload)))
        except Refusal:
            continue
    return pairs
