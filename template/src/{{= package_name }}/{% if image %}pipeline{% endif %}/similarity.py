"""Near copies of images: saved again, resized, cropped, shifted, mirrored, brighter or noisier.

Two steps. A rough search compares small images in many positions, mirrored or not. Then the best
candidates are moved and stretched until details fit; unrelated images do not fit anywhere.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from .correlation import most_similar, normalize, pick_similar

SIDE = 32  # of a signature, 1 kB
ROUGH = 20  # side in the rough search
SCALE = 60  # int8 per standard deviation: tanh reaches 1
CANDIDATES = 2  # the original of a copy is nearly always first
# Correlation of details. Measured on the sample: 2 of 1,000 unrelated images reach this. So do
# 99 % of copies as JPEG of quality 75, and 91 % of those without a tenth on each side.
SIMILAR = 0.82

# Frames, which are the part of a query that is compared: left, right, top and bottom, from 0 to 1.
# Centred crops, shifts, and a crop on one side, in either direction.
ZOOMS = [(m, 1 - m, m, 1 - m) for m in (0.0, 0.05, 0.1, -0.055, -0.125)]
SHIFTS = [(x, 1 + x, y, 1 + y) for x in (-0.05, 0, 0.05) for y in (-0.05, 0, 0.05) if x or y]
SIDES = [(m, 1.0, 0.0, 1.0) for m in (0.1, -0.1)] + [(0.0, 1 - m, 0.0, 1.0) for m in (0.1, -0.1)]
FRAMES = np.array([*ZOOMS, *SHIFTS, *SIDES, *(side[2:] + side[:2] for side in SIDES)], np.float32)
# Moves of a frame: of one side, of both on an axis, and of all, in ever smaller steps.
MOVES = np.array([*np.eye(4), (1, 1, 0, 0), (0, 0, 1, 1), (1, -1, 1, -1)], np.float32)
STEPS = (0.04, 0.02, 0.01, 0.005)
LARGEST = 0.3  # shift of a side


def sign(raw: object) -> np.ndarray | None:
    """Return int8 (SIDE * SIDE,): the grey image without its light, at even contrast."""
    if not isinstance(raw, Image.Image):
        return None
    small = raw.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    grey = np.asarray(small, np.float32)
    light = _blur(4)
    details = grey - light @ grey @ light.T
    details = np.tanh(details / (details.std() + 0.5))  # one scratch must not outweigh the rest
    signature: np.ndarray = np.round(details * SCALE).astype(np.int8).ravel()
    return signature


def find_copies(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return int64 (queries,): the index of a reference that each query is a copy of, or -1."""
    return pick_similar(queries, references, compare, SIMILAR)


def compare(queries: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the correlation of each query with the reference that it fits best, and its index."""
    rough, indices = most_similar(queries, references, _views)
    highest = np.full(len(queries), -1, np.float32)
    nearest = np.zeros(len(queries), np.int64)
    rows = np.arange(len(queries))
    for _ in range(CANDIDATES):
        best = rough.argmax(0)
        index = indices[best, rows]
        is_mirrored = best >= len(FRAMES)
        fitted = _fit(queries, references[index], is_mirrored, FRAMES[best % len(FRAMES)])
        nearest = np.where(fitted > highest, index, nearest)
        highest = np.maximum(fitted, highest)
        rough[indices == index] = -1  # the next candidate is another reference
    return highest, nearest


def _images(signatures: np.ndarray) -> np.ndarray:
    return signatures.reshape(-1, SIDE, SIDE).astype(np.float32) / SCALE


def _views(signatures: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield small views of all images at each of FRAMES, then the same mirrored."""
    images = _images(signatures)
    for turned in (images, images[:, :, ::-1]):
        for left, right, top, bottom in FRAMES:
            rows, is_row = _resample(np.array([top, bottom]), ROUGH)
            columns, is_column = _resample(np.array([left, right]), ROUGH)
            mask = np.outer(is_row, is_column)
            small = np.matmul(np.matmul(rows, turned), columns.T)
            yield normalize(small * mask, mask).reshape(len(images), -1), mask.ravel()


def _fit(
    queries: np.ndarray, references: np.ndarray, is_mirrored: np.ndarray, frames: np.ndarray
) -> np.ndarray:
    """Move the frame of each query uphill; return the highest correlation: float32 (queries,)."""
    fine, coarse = _blur(0.6), _blur(1.5)
    x, y = (
        fine @ images @ fine.T - coarse @ images @ coarse.T
        for images in (_images(queries), _images(references))
    )
    x = np.where(is_mirrored[:, None, None], x[:, :, ::-1], x)

    def correlate(frames: np.ndarray) -> np.ndarray:
        rows, is_row = _resample(frames[:, 2:], SIDE)
        columns, is_column = _resample(frames[:, :2], SIDE)
        mask = is_row[:, :, None] * is_column[:, None, :]
        moved = normalize(rows @ x @ columns.transpose(0, 2, 1), mask)
        product: np.ndarray = (moved * normalize(y, mask)).sum((1, 2))
        return product

    start = np.array([0, 1, 0, 1], np.float32)
    highest = correlate(frames)
    for step in STEPS:
        for move in (*(MOVES * step), *(-MOVES * step)):
            tried = np.clip(frames + move, start - LARGEST, start + LARGEST)
            correlations = correlate(tried)
            frames = np.where((correlations > highest)[:, None], tried, frames)
            highest = np.maximum(correlations, highest)
    return highest


def _resample(frames: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (..., size, SIDE) that resample an axis within its frame, and a mask.

    The mask (..., size) is 0 where a sample is outside of the image.
    """
    first, last = frames[..., :1], frames[..., 1:]
    places = first + (last - first) * ((np.arange(size) + 0.5) / size)
    width = max(1, 1.3 * SIDE / size) if size < SIDE else 1  # in the rough search, smooth
    away = np.abs(places[..., None] * SIDE - 0.5 - np.arange(SIDE)) / width
    weights = np.maximum(1 - away, 0).astype(np.float32)
    weights /= np.maximum(weights.sum(-1, keepdims=True), 1e-6)
    mask = ((places >= 0) & (places <= 1)).astype(np.float32)
    return weights * mask[..., None], mask


def _blur(deviation: float) -> np.ndarray:
    """Return float32 (SIDE, SIDE) that blurs an axis of an image; the deviation is in pixels."""
    i = np.arange(SIDE)
    weights = np.exp(-(((i[:, None] - i) / deviation) ** 2) / 2)
    blur: np.ndarray = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return blur
