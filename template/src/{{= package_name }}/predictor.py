"""Features in, a prediction out. Needs no PyTorch: this is what gets deployed."""

import hashlib
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime

from .artifacts import ONNX_INT8
from .intake import take_in
from .task.features import FEATURES_VERSION, features

MEND = "Run `make model`, or pull a release."


class Prediction(NamedTuple):
    """The most likely label, how sure the model is of it, and the facts of the input."""

    label: str
    confidence: float
    facts: dict[str, float]


class Prepared(NamedTuple):
    """What the network takes, float32 of its input shape, and the facts of the payload."""

    x: np.ndarray
    facts: dict[str, float]


class NotFinite(ArithmeticError):
    """The model answered with what is no number: whoever asked must not take it for an answer."""


class Predictor:
    """An ONNX file, fed by the features that it was trained on.

    Raises:
        SystemExit: the file is missing, is not a model of ours, or needs other features.
    """

    def __init__(self, path: Path = ONNX_INT8, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            model = path.read_bytes()
            self._session = onnxruntime.InferenceSession(model, options)
            metadata = self._session.get_modelmeta().custom_metadata_map
            self.labels: list[str] = json.loads(metadata["labels"])
            self.input_shape = tuple(self._session.get_inputs()[0].shape[1:])
            self.trained_at: float = json.loads(metadata["trained_at"])
            version = json.loads(metadata["features_version"])
        except Exception as error:  # onnxruntime's errors share no other base class
            found = str(error).splitlines()[0]
            raise SystemExit(f"{path} is no model of this project ({found}). {MEND}") from None
        if version != FEATURES_VERSION:
            versions = f"features version {version}, but the code computes {FEATURES_VERSION}"
            raise SystemExit(f"{path} wants {versions}. {MEND}")
        self.sha256 = hashlib.sha256(model).hexdigest()

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Run the network: features float32 (n, ...) to probabilities float32 (n, labels)."""
        return softmax(self._session.run(["logits"], {"x": x})[0])

    def predict(self, payload: bytes) -> Prediction:
        """Answer one payload.

        Raises:
            Refusal: the payload cannot be decoded, or it breaks the contract.
            NotFinite: the model answers with what is no number.
        """
        (result,) = self.answers([prepared(payload)])
        if isinstance(result, Exception):
            raise result
        return result

    def answers(self, inputs: list[Prepared]) -> list[Prediction | Exception]:
        """Answer several inputs in one run of the network; none spoils the answer of another."""
        chances = self.probabilities(np.stack([x for x, _ in inputs]))
        found: list[Prediction | Exception] = []
        for (_, facts), row, best in zip(inputs, chances, chances.argmax(axis=1), strict=True):
            confidence = float(row[best])  # NaN wins an argmax; without one, rows sum up to 1
            if math.isfinite(confidence):
                found.append(Prediction(self.labels[best], confidence, facts))
            else:
                found.append(NotFinite(f"model {self.sha256[:12]} answered {row.tolist()}"))
        return found


def prepared(payload: bytes) -> Prepared:
    """Turn a payload into what the network takes.

    Raises:
        Refusal: the payload cannot be decoded, or it breaks the contract.
    """
    raw, facts = take_in(payload)
    return Prepared(features(raw), facts)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits (n, labels) into probabilities; kept out of the graph, where int8 hurts it."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
