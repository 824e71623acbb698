"""The first layer of the made-up model. Delete it once your model is in `model.onnx`."""

import numpy as np

ANGLES = 12
LENGTHS_PX = (7, 13)  # of the lines that a filter detects
SIDE_PX = 13


def filters() -> np.ndarray:
    """Return weights of a convolution, float32 (filters, 3, SIDE_PX, SIDE_PX): line detectors.

    Each responds to a bright line of one angle and length on a darker surface.
    """
    across, along = np.mgrid[0:SIDE_PX, 0:SIDE_PX] - SIDE_PX // 2
    found = []
    for angle in np.arange(ANGLES) * np.pi / ANGLES:
        distance = across * np.cos(angle) - along * np.sin(angle)
        place = across * np.sin(angle) + along * np.cos(angle)
        for length in LENGTHS_PX:
            line = (1 - (distance / 0.8) ** 2) * np.exp(-((distance / 0.8) ** 2) / 2)
            line *= np.abs(place) <= length / 2
            line -= line.mean()
            found.append(np.stack([line] * 3) / np.abs(line).sum() / 3)
    return np.stack(found).astype(np.float32)
