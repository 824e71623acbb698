"""Compute the features of each example, with the same functions as in production."""

from typing import Any

import numpy as np
from rich.progress import track

from ..artifacts import FEATURES, RAW
from ..examples import count_examples, digest, read_shards
from ..intake import take_in
from ..problem.answer import encode, fit_head, read
from ..refusal import Refusal
from ..schema import load_schema
from ..task.features import features


def featurize() -> None:
    """Write features, facts, answer, slice and split of all valid examples to one file.

    Invalid examples are skipped: `validate` counts them, and the gate `contract` fails.
    """
    x, answers, slices, splits, facts = [], [], [], [], []
    names = list[str]()
    for example in track(read_shards(RAW), "Computing features", count_examples(RAW)):
        try:
            intake = take_in(example.payload)
        except Refusal:
            continue
        x.append(features(intake.raw).astype(np.float32))
        answers.append(read(example.label))
        slices.append(example.slice)
        splits.append(example.split)
        facts.append(list(intake.facts.values()))
        names = list(intake.facts)
    training = [a for a, split in zip(answers, splits, strict=True) if split == "train"]
    head = fit_head(training, load_schema())
    known: dict[str, Any] = {name: np.array(value) for name, value in head.model_dump().items()}
    FEATURES.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        FEATURES,
        x=np.stack(x),
        y=encode(answers, head),
        slice=np.array(slices),
        split=np.array(splits),
        facts=np.array(facts, dtype=np.float64),
        fact_names=np.array(names),
        data_sha256=np.array(digest(read_shards(RAW))),
        **known,
    )
