"""A model with what a device watches it by."""

from pathlib import Path

from ..monitoring.live import Monitor
from ..predictor import Prediction, Predictor, Prepared


class Failed(Exception):
    """The payload keeps the contract, and the model has no answer to it."""


class Tried(Predictor):
    """A model with its live window, which counts its answers; `trial` is its id while on trial."""

    def __init__(self, path: Path, reference: Path, trial: str) -> None:
        super().__init__(path)
        self.answered, self.monitor, self.trial = 0, Monitor(self, reference), trial

    def answer(self, inputs: Prepared) -> Prediction:
        """Answer once.

        Raises:
            Failed: the model has no answer, or one that is no number.
        """
        try:
            (result,) = self.answers([inputs])
        except Exception as error:  # onnxruntime's errors share no other base class
            raise Failed(str(error)) from error
        if isinstance(result, Exception):
            raise Failed(str(result)) from result
        self.answered += 1
        return result
