"""The work of every peer: intake, features and model of the render, for a batch of payloads."""

import os
from collections.abc import Sequence

import numpy as np
from scratch_detector.intake import take_in
from scratch_detector.predictor import Predictor
from scratch_detector.task.features import features

HOST, PORT = "127.0.0.1", int(os.environ.get("SCRATCH_DETECTOR_PORT", "8000"))
MAX_BATCH = 8
Answer = dict[str, str | float]


class Model:
    """The shipped model, loaded as in the server of the render."""

    def __init__(self) -> None:
        self._predictor = Predictor()

    def answers(self, payloads: Sequence[bytes]) -> list[Answer]:
        """Predict a batch with one run of the network."""
        x = np.stack([features(take_in(payload).raw) for payload in payloads])
        probabilities = self._predictor.outputs(x)
        best = probabilities.argmax(axis=1)
        names = self._predictor.head.labels
        return [
            {"label": names[i], "confidence": float(row[i])}
            for row, i in zip(probabilities, best, strict=True)
        ]
