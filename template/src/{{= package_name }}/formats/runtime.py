"""A converted network that answers like a `Predictor`, and the process in which it is timed."""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from ..pipeline.footprint import measure
from ..predictor import softmax

FACTS = "facts.json"  # beside the network: what the metadata of an ONNX file would say


class Converted:
    """A folder that is named after its format, and was filled by its `export`.

    Raises:
        NotRun: nothing on this system runs it.
    """

    def __init__(self, folder: Path) -> None:
        self.input_shape = tuple(json.loads((folder / FACTS).read_text())["input_shape"])
        self._run = import_module(f".{folder.name}", __package__).load(folder)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Answer one by one: features float32 (n, ...) to probabilities float32 (n, labels)."""
        return softmax(np.concatenate([self._run(row[None]) for row in x]))


if __name__ == "__main__":
    print(json.dumps(measure(Converted(Path(sys.argv[1])))))
