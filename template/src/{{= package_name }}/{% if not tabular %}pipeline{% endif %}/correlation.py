"""Search for near copies by correlation, with matrix products of blocks."""

from collections.abc import Callable, Iterator

import numpy as np
from rich.progress import track

# In some data, unrelated examples are much alike: the typical handwritten digit of 8 x 8 pixels
# resembles one of FEW others by 0.63. Where this is above TYPICAL, a copy has to reach more, up to
# ALIKE.
FEW, FEW_COMPARED = 32, 200
TYPICAL = 0.47
ALIKE = 0.985
BLOCK = 4096  # references; 2,000 queries x 4,096 x 4 bytes are 33 MB
# Views of all examples, like shifted or mirrored ones, and the part in which a view is defined:
# float32 (examples, width) from `normalize`, and zeros and ones, float32 (width,).
Views = Callable[[np.ndarray], Iterator[tuple[np.ndarray, np.ndarray]]]
# From queries and references: the highest correlation of each query, and the reference's index.
Compare = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def most_similar(
    queries: np.ndarray, references: np.ndarray, views: Views
) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest correlation of each view of each query, and the index of the reference.

    Both have the shape (views, queries). Of the references, only the first view is used.
    """
    highest = np.zeros((0, 0), np.float32)
    nearest = np.zeros((0, 0), np.int64)
    for start in track(range(0, len(references), BLOCK), "Comparing"):
        block, _ = next(views(references[start : start + BLOCK]))
        values, indices = [], []
        for view, mask in views(queries):
            # The part of a reference outside the mask does not count. A third does in any case: a
            # reference that is empty inside would resemble everything.
            lengths = np.sqrt(np.maximum(block**2 @ mask, 1 / 3))
            correlations = view @ (block / lengths[:, None]).T
            indices.append(correlations.argmax(1))
            values.append(np.take_along_axis(correlations, indices[-1][:, None], 1)[:, 0])
        if not start:
            highest, nearest = np.stack(values), np.stack(indices)
            continue
        nearest = np.where(np.stack(values) > highest, np.stack(indices) + start, nearest)
        highest = np.maximum(np.stack(values), highest)
    return highest, nearest


def pick_similar(
    queries: np.ndarray, references: np.ndarray, compare: Compare, similar: float
) -> np.ndarray:
    """Return int64 (queries,): the index of a reference that each query is a copy of, or -1.

    `similar` is the least correlation of a copy, in data whose unrelated examples differ.
    """
    few = references[:: max(1, len(references) // FEW)]  # hardly any of them is a copy
    typical = float(np.median(compare(queries[:FEW_COMPARED], few)[0]))
    limit = min(ALIKE, similar + max(0.0, typical - TYPICAL))
    correlations, nearest = compare(queries, references)
    return np.where(correlations >= limit, nearest, -1)


def normalize(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return each example with mean 0 and length 1 where the mask is 1, and 0 elsewhere.

    The mask has the shape of one example, or of all. Examples without any detail become 0.
    """
    axes = tuple(range(1, x.ndim))
    size = mask.sum(tuple(range(-len(axes), 0)), keepdims=True)
    centred = (x - (x * mask).sum(axes, keepdims=True) / size) * mask
    lengths = np.sqrt((centred**2).sum(axes, keepdims=True))
    unit: np.ndarray = centred / np.maximum(lengths, 1e-3)
    return unit
