"""A converted model with the interface of a `Predictor`, and the process in which it is timed."""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from ..pipeline.footprint import measure
from ..predictor import softmax

FACTS = "facts.json"  # beside the model: what an ONNX file has in its metadata


class ConvertedModel:
    """A folder that `export` of a format filled; its name is that of the format.

    Raises:
        NotRunnableError: this system cannot run it.
    """

    def __init__(self, folder: Path) -> None:
        self.input_shape = tuple(json.loads((folder / FACTS).read_text())["input_shape"])
        self._run = import_module(f".{folder.name}", __package__).load(folder)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Answer one by one: features float32 (n, ...) to probabilities float32 (n, labels)."""
        return softmax(np.concatenate([self._run(row[None]) for row in x]))


if __name__ == "__main__":
    print(json.dumps(measure(ConvertedModel(Path(sys.argv[1])))))
