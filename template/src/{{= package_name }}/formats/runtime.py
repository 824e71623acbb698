"""A converted model with the interface of `Predictor`; run as a process to measure it."""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from ..pipeline.footprint import measure
from ..predictor import softmax

FACTS = "facts.json"  # in the same folder: the metadata of the ONNX file


class ConvertedModel:
    """A folder written by `export` of the format with the same name.

    Raises:
        NotRunnableError: this system cannot run the format.
    """

    def __init__(self, folder: Path) -> None:
        self.input_shape = tuple(json.loads((folder / FACTS).read_text())["input_shape"])
        self._run = import_module(f".{folder.name}", __package__).load(folder)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Predict one by one: float32 features (n, ...) to float32 probabilities (n, labels)."""
        return softmax(np.concatenate([self._run(row[None]) for row in x]))


if __name__ == "__main__":
    print(json.dumps(measure(ConvertedModel(Path(sys.argv[1])))))
