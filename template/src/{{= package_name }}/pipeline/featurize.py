"""Valid examples in, arrays out, by the same functions that the server calls."""

import numpy as np
from rich.progress import track

from ..artifacts import FEATURES, RAW
from ..examples import read_shards, split_of
from ..intake import take_in
from ..schema import load_schema
from ..task.features import features


def featurize() -> None:
    """Write what the model sees, and the bookkeeping of every example, to one file."""
    examples = list(read_shards(RAW))
    labels = load_schema().labels
    taken = [take_in(example.payload) for example in track(examples, "Computing features")]
    FEATURES.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        FEATURES,
        x=np.stack([features(intake.raw) for intake in taken]).astype(np.float32),
        y=np.array([labels.index(example.label) for example in examples]),
        slice=np.array([example.slice for example in examples]),
        split=np.array([split_of(example.id) for example in examples]),
        facts=np.array([list(intake.facts.values()) for intake in taken], dtype=np.float64),
        fact_names=np.array(list(taken[0].facts)),
    )
