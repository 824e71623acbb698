"""Near copies of table rows: equal in all columns but one.

In a table of few values, unrelated rows agree by chance. So a pair counts only if agreement of
its equal columns is improbable, from the frequency of their values.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
from rich.progress import track

# Expected number of rows that agree with a held-out row by chance, if columns were independent.
# Far below the default limit of 0.02 near copies per held-out row.
MAX_CHANCE = 0.001


def sign(raw: object) -> np.ndarray | None:
    """Return uint64 (columns,): a hash of each value; numbers are rounded to 6 digits."""
    if not isinstance(raw, Mapping) or not raw:
        return None
    return np.array([_hash(name, raw[name]) for name in sorted(raw)], np.uint64)


def _hash(name: str, value: object) -> int:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    text = f"{value:.6g}" if is_number else str(value)
    digest = hashlib.blake2b(repr((name, is_number, text)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def find_copies(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return int64 (queries,): the index of a reference that each query is a copy of, or -1.

    Compares sums of all hashes but one: linear in the number of rows.
    """
    copies = np.full(len(queries), -1)
    query_sums, reference_sums = queries.sum(1), references.sum(1)  # modulo 2**64
    chances = np.stack(list(map(_log_chance, queries.T, references.T)))
    limit = np.log(MAX_CHANCE / len(chances))
    for column in track(range(len(chances)), "Comparing rows"):
        wanted = query_sums - queries[:, column]
        keys = reference_sums - references[:, column]
        order = np.argsort(keys, kind="stable")
        places = np.searchsorted(keys, wanted, sorter=order).clip(max=len(keys) - 1)
        is_equal = keys[order[places]] == wanted
        expected = np.log(len(references)) + chances.sum(0) - chances[column]
        copies = np.where(is_equal & (expected < limit), order[places], copies)
    return copies


def _log_chance(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return the logarithm of the probability of each value of a column: float64 (queries,).

    Values that are seen once get the estimate of Good 1953: in a column where no value repeats, two
    rows hardly ever agree.
    """
    values, counts = np.unique(references, return_counts=True)
    places = np.searchsorted(values, queries).clip(max=len(values) - 1)
    counts_of = np.where(values[places] == queries, counts[places], 1)
    once, twice = (counts == 1).sum(), (counts == 2).sum()
    counts_of = np.where(counts_of > 1, counts_of, min(1, 2 * (twice + 1) / (once + 1)))
    chances: np.ndarray = np.log(counts_of / len(references))
    return chances
