"""The first layer of the made-up model. Delete it once your model is in `model.onnx`."""

import numpy as np

from .features import BANDS, decode, features
from .sample_data import sample_examples

COUNT, FRAMES = 256, 13
CLIPS = 400
CLEAR = ("quiet", "small")  # the slices with little noise
MIN_LOUDNESS = 0.1  # of a piece, as the features have it: above the mean of the clip


def filters() -> np.ndarray:
    """Return weights of a convolution over time, float32 (filters, BANDS, FRAMES).

    They are loud pieces of made-up clips, so each responds to a similar sound.
    """
    rng = np.random.default_rng(0)
    clips = [e.payload for e in sample_examples(CLIPS, seed=2) if e.slice in CLEAR]
    spectra = [features(decode(payload)) for payload in clips]
    found: list[np.ndarray] = []
    while len(found) < COUNT:
        spectrum = spectra[int(rng.integers(len(spectra)))]
        start = int(rng.integers(spectrum.shape[1] - FRAMES))
        piece = spectrum[:, start : start + FRAMES]
        if piece.mean() > MIN_LOUDNESS:
            piece = piece - piece.mean()
            found.append(piece / np.sqrt(np.sum(piece**2)))
    return np.stack(found).astype(np.float32).reshape(COUNT, BANDS, FRAMES)
