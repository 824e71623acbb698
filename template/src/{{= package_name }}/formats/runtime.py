"""A converted model with the interface of `Predictor`; run as a process to measure it."""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from ..pipeline.footprint import measure
from ..problem.answer import Head, decode

FACTS = "facts.json"  # in the same folder: the metadata of the ONNX file


class ConvertedModel:
    """A folder written by `export` of the format with the same name.

    Raises:
        NotRunnableError: this system cannot run the format.
    """

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / FACTS).read_text())
        self.input_shape = tuple(facts["input_shape"])
        self.head = Head.model_validate(facts)
        self._run = import_module(f".{folder.name}", __package__).load(folder)

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """Predict one by one: float32 features (n, ...) to decoded outputs (n, width)."""
        return decode(np.concatenate([self._run(row[None]) for row in x]), self.head)


if __name__ == "__main__":
    print(json.dumps(measure(ConvertedModel(Path(sys.argv[1])))))
