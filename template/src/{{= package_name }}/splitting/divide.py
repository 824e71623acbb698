"""Divide examples into training, validation and test by a key; equal keys stay together."""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from zlib import crc32

from ..refusal import Refusal
from .rules import Split

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
NAMES = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "val", "valid", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing", "holdout"), TEST),
}
# Shares of the examples. With few groups they vary: these are the limits for a seed.
MIN_SHARES = {TRAIN: 0.5, VALIDATION: 0.04, TEST: 0.1}
MAX_SEEDS, MAX_DIVIDED = 1000, 10_000_000  # seeds, and examples over all seeds: some seconds


def hash_split(key: str, seed: int = 0) -> str:
    """Return the split of a key: 20 % test, 10 % validation, 70 % training."""
    bucket = _hash(key, seed) % 10
    return TEST if bucket < 2 else VALIDATION if bucket == 2 else TRAIN


def _hash(key: str, seed: int) -> int:
    return crc32(sha256(f"{seed}:{key}".encode()).digest() if seed else key.encode())


def divide(keys: Sequence[str], ids: Sequence[str], split: Split, requests: int = 0) -> list[str]:
    """Return the split of each example.

    The last `requests` examples are labelled requests, oldest first. They are newer than the
    source, and their group is unknown: they are for training if the split is by group or given.

    Raises:
        Refusal: a key is not a time, or not a split.
    """
    source = keys[: len(keys) - requests]
    if split.by == "time":
        times = parse_times(source)
        newest = max(times, default=0.0)
        return _divide_by_time([*times, *(newest + 1 + i for i in range(requests))])
    if split.by == "group":
        splits = {key: hash_split(key, split.seed) for key in set(source)}
        return [splits[key] for key in source] + [TRAIN] * requests
    if split.by == "given":
        return _read_names(source, ids, split.seed) + [TRAIN] * requests
    if split.by == "function":
        return _read_names(keys, ids, split.seed)
    return [hash_split(key, split.seed) for key in keys]


def choose_seed(
    keys: Sequence[str], ids: Sequence[str], labels: Sequence[str], split: Split
) -> Split:
    """Return the rule with the first seed that puts every label into every split.

    With 20 examples of a label, one seed in five leaves a split without it. A seed is only chosen
    by labels and sizes, never by a result. A split by id or time has none.

    Raises:
        Refusal: a key is not a split.
    """
    if split.by in ("id", "time") or not keys:
        return split
    wanted, found = 3 * len(set(labels)), None
    tries = max(1, min(MAX_SEEDS, MAX_DIVIDED // len(keys)))
    for seed in range(split.seed, split.seed + tries):
        candidate = split.model_copy(update={"seed": seed})
        splits = divide(keys, ids, candidate)
        if len(set(zip(splits, labels, strict=True))) == wanted:
            found = found or candidate
            sizes = Counter(splits)
            if all(sizes[name] >= share * len(keys) for name, share in MIN_SHARES.items()):
                return candidate
    return found or split


def parse_times(keys: Sequence[str]) -> list[float]:
    """Return numbers as they are, and dates and times in seconds.

    Raises:
        Refusal: a key is neither.
    """
    try:
        numbers = [float(key) for key in keys]
        if all(map(math.isfinite, numbers)):
            return numbers
    except ValueError:
        pass
    return [_parse_time(key) for key in keys]


def _parse_time(key: str) -> float:
    try:
        time = datetime.fromisoformat(key)
    except ValueError:
        rule = "numbers, or dates and times in ISO 8601, for a split by time"
        raise Refusal("split", key, rule, "2026-11-29T14:30") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _divide_by_time(times: Sequence[float]) -> list[str]:
    """The latest times are for the test, until it has 20 %, those before for validation."""
    counts, later, splits = Counter(times), 0, dict[float, str]()
    for time in sorted(counts, reverse=True):
        share = later / len(times)
        splits[time] = TEST if share < 0.2 else VALIDATION if share < 0.3 else TRAIN
        later += counts[time]
    return [splits[time] for time in times]


def _read_names(keys: Sequence[str], ids: Sequence[str], seed: int) -> list[str]:
    """Read given splits. Without one for validation, an eighth of the training split is used."""
    unknown = sorted({key for key in keys if key.lower() not in NAMES})
    if unknown:
        raise Refusal("split", unknown[0], f"one of {', '.join(NAMES)}", TEST)
    splits = [NAMES[key.lower()] for key in keys]
    for name in (TRAIN, TEST):
        if name not in splits:
            rule = f"examples for {name} as well (those for validation may be left out)"
            raise Refusal("split", sorted(set(keys)), rule, [TRAIN, TEST])
    if VALIDATION in splits:
        return splits
    return [
        VALIDATION if name == TRAIN and _hash(id, seed) % 8 == 0 else name
        for name, id in zip(splits, ids, strict=False)
    ]
