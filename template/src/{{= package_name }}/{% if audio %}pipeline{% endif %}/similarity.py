"""Near copies of sounds: encoded again, louder, resampled, cut or shifted by up to 0.16 s."""

from collections.abc import Iterator

import numpy as np

from .correlation import most_similar, normalize, pick_similar

RATE_HZ = 16_000
WINDOW = 2048  # samples, 128 ms: a shift by half a hop changes little
HOP = 320  # samples, 20 ms
FRAMES = 50  # 1 s, the loudest
BANDS = 64  # of 55 Hz each, which shows the pitch of a voice and the texture of noise
LOWEST_HZ, HIGHEST_HZ = 80, 3600  # sounds that were resampled at 8 kHz still have these
RANGE_DB = 40  # below the maximum; what is quieter does not survive encoding
LAGS = 8  # hops, in both directions
SCALE = 60  # int8 per standard deviation: tanh reaches 1
# Measured on the sample: 1 of 1,000 unrelated clips resembles another by 0.9; 95 % of clips that
# were resampled, shifted or cut resemble their original by more than 0.91.
SIMILAR = 0.9


def sign(raw: object) -> np.ndarray | None:
    """Return int8 (BANDS * FRAMES,): details of the spectrogram of the loudest second."""
    if not isinstance(raw, np.ndarray) or raw.ndim != 1 or raw.dtype.kind != "f" or not raw.size:
        return None
    clip = _loudest_second(raw.astype(np.float32))
    padded = np.pad(clip, (0, RATE_HZ - len(clip) + WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:FRAMES]
    frames = frames[: max(1, (len(clip) - WINDOW) // HOP + 1)]  # none with silence that was added
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32))) ** 2
    loudness_db = 10 * np.log10(_FILTERS @ power.T + 1e-10)
    loudness_db = np.maximum(loudness_db, loudness_db.max() - RANGE_DB)
    # Slow changes are alike in all clips of a word.
    slow = _blur(BANDS, 2) @ loudness_db @ _blur(len(frames), 4).T
    details = loudness_db - slow
    signature = np.zeros((BANDS, FRAMES), np.int8)
    details = np.tanh(details / (details.std() + 0.1))
    signature[:, : len(frames)] = np.round(details * SCALE)
    return signature.ravel()


def find_copies(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return int64 (queries,): the index of a reference that each query is a copy of, or -1."""
    return pick_similar(queries, references, compare, SIMILAR)


def compare(queries: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the correlation of each query with the most similar reference, and its index."""
    correlations, indices = most_similar(queries, references, _views)
    best, rows = correlations.argmax(0), np.arange(len(queries))
    return correlations[best, rows], indices[best, rows]


def _views(signatures: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield all clips as they are, then earlier and later by each number of hops."""
    clips = signatures.reshape(-1, BANDS, FRAMES).astype(np.float32) / SCALE
    for lag in sorted(range(-LAGS, LAGS + 1), key=abs):
        moved, mask = np.zeros_like(clips), np.zeros((BANDS, FRAMES), np.float32)
        to, by = slice(max(0, lag), FRAMES + min(0, lag)), slice(max(0, -lag), FRAMES - max(0, lag))
        moved[:, :, to], mask[:, to] = clips[:, :, by], 1
        yield normalize(moved, mask).reshape(len(clips), -1), mask.ravel()


def _loudest_second(samples: np.ndarray) -> np.ndarray:
    if len(samples) <= RATE_HZ:
        return samples
    energy = np.cumsum(np.pad(samples, (1, 0)).astype(np.float64) ** 2)
    start = int(np.argmax(energy[RATE_HZ:] - energy[:-RATE_HZ]))
    return samples[start : start + RATE_HZ]


def _blur(size: int, deviation: float) -> np.ndarray:
    """Return float32 (size, size) that blurs an axis; the deviation is in bands or frames."""
    i = np.arange(size)
    weights = np.exp(-(((i[:, None] - i) / deviation) ** 2) / 2)
    blur: np.ndarray = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return blur


def _filters() -> np.ndarray:
    """Return float32 (BANDS, WINDOW // 2 + 1): overlapping triangles, evenly spaced in Hz."""
    corners_hz = np.linspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 2)
    away_hz = np.abs(np.fft.rfftfreq(WINDOW, 1 / RATE_HZ) - corners_hz[1:-1, None])
    triangles = np.maximum(1 - away_hz / (corners_hz[1] - corners_hz[0]), 0)
    filters: np.ndarray = (triangles / triangles.sum(1, keepdims=True)).astype(np.float32)
    return filters


_FILTERS = _filters()
