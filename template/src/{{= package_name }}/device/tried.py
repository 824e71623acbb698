"""A model with what a device watches it by."""

from pathlib import Path

from ..monitor import Monitor
from ..predictor import Prediction, Predictor
from ..refusal import Refusal


class Failed(Exception):
    """The payload keeps the contract, and the model has no answer to it."""


class Tried(Predictor):
    """A model with its live window, which counts its answers; `trial` is its id while on trial."""

    def __init__(self, path: Path, reference: Path, trial: str) -> None:
        super().__init__(path)
        self.answered, self.monitor, self.trial = 0, Monitor(self, reference), trial

    def predict(self, payload: bytes) -> Prediction:
        """Answer one payload.

        Raises:
            Refusal: the payload cannot be decoded, or it breaks the contract.
            Failed: the model is to blame.
        """
        try:
            prediction = super().predict(payload)
        except Refusal:
            raise
        except Exception as error:  # onnxruntime's errors share no other base class
            raise Failed(str(error)) from error
        self.answered += 1
        return prediction
