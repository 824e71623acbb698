"""Near copies in two splits: inputs that were saved again, cropped, shifted or slightly changed.

A model that has seen a copy in training recognises it, so its score is too high. Equal inputs are
leaks, which `validate` counts on its own. What counts as similar depends on the modality: see
`similarity.py`.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .similarity import find_copies

# A share near the default limit of 0.5, estimated from 2,000, is off by 0.02 (95 % confidence).
MAX_COMPARED = 2000
SHOWN = 10
REFERENCES = {"validation": ("train",), "test": ("train", "validation")}


class Signed(NamedTuple):
    """A valid example: its id and split, the hash of its features, and its signature."""

    id: str
    split: str
    fingerprint: bytes
    signature: np.ndarray | None  # None: `similarity.sign` does not know this type of input


def count_near_copies(examples: Sequence[Signed]) -> dict[str, Any]:
    """Count the held-out examples that have a near copy in training.

    For test examples, a near copy in the validation split counts too: it chose the model.
    """
    splits = defaultdict(set)
    for example in examples:
        splits[example.fingerprint].add(example.split)
    unequal = [e for e in examples if len(splits[e.fingerprint]) == 1 and e.signature is not None]
    chosen = _sample([example for example in unequal if example.split in REFERENCES])
    unknown = sum(example.signature is None for example in examples)
    if unknown:
        print(f"Near copies of {unknown} inputs are not counted: `similarity.sign` returned None.")
    pairs = []
    for split, others in REFERENCES.items():
        queries = [example for example in chosen if example.split == split]
        references = [example for example in unequal if example.split in others]
        pairs += _pair(queries, references)
    return {
        "near_copies": len(pairs),
        "near_copies_compared": len(chosen),
        "near_copy_share": len(pairs) / len(chosen) if chosen else 0.0,
        "near_copies_unknown": unknown,
        "near_copied_examples": [
            f"{copy.id} ({copy.split}), {held_out.id} ({held_out.split})"
            for held_out, copy in pairs[:SHOWN]
        ],
    }


def _sample(held_out: list[Signed]) -> list[Signed]:
    """Return at most MAX_COMPARED examples, the same ones in each run and in any order."""
    by_hash = sorted(held_out, key=lambda example: hashlib.sha256(example.id.encode()).digest())
    return by_hash[:MAX_COMPARED]


def _pair(queries: list[Signed], references: list[Signed]) -> list[tuple[Signed, Signed]]:
    """Return the queries that have a near copy among the references, with this copy."""
    if not queries or not references:
        return []
    copies = find_copies(_stack(queries), _stack(references))
    return [(q, references[i]) for q, i in zip(queries, copies, strict=True) if i >= 0]


def _stack(examples: Iterable[Signed]) -> np.ndarray:
    return np.stack([example.signature for example in examples if example.signature is not None])
