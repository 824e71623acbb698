"""Predict with an ONNX file. It needs no PyTorch: servers and devices run this module."""

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

REMEDY = "Run `make model`, or pull a release."
TINY = np.finfo(np.float32).tiny  # has a logarithm, where 0 has none


class Prediction(NamedTuple):
    """The most likely label, how sure the model is of it, and the facts of the input."""

    label: str
    confidence: float
    facts: dict[str, float]
    entropy: float = math.nan  # of all probabilities, in nats
    embedding: np.ndarray | None = None  # float32 (width,): what the last layer saw


class Prepared(NamedTuple):
    """What the network takes, float32 of its input shape, and the facts of the payload."""

    x: np.ndarray
    facts: dict[str, float]


class NotFinite(ArithmeticError):
    """The model returned NaN or infinity."""


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
            self._outputs = [output.name for output in self._session.get_outputs()]
            self.trained_at: float = json.loads(metadata["trained_at"])
            version = json.loads(metadata["features_version"])
        except Exception as error:  # onnxruntime's errors share no other base class
            found = str(error).splitlines()[0]
            raise SystemExit(f"{path} is no model of this project ({found}). {REMEDY}") from None
        if version != FEATURES_VERSION:
            versions = f"features version {version}, but the code computes {FEATURES_VERSION}"
            raise SystemExit(f"{path} wants {versions}. {REMEDY}")
        self.sha256 = hashlib.sha256(model).hexdigest()

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Run the network: features float32 (n, ...) to probabilities float32 (n, labels)."""
        return self.run(x)[0]

    def run(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the probabilities and, float32 (n, width), what the last layer saw.

        None from files of older releases, and of networks that end in no linear layer.
        """
        found = dict(zip(self._outputs, self._session.run(self._outputs, {"x": x}), strict=True))
        return softmax(found["logits"]), found.get("embedding")

    def predict(self, payload: bytes) -> Prediction:
        """Answer one payload.

        Raises:
            Refusal: the payload cannot be decoded, or it breaks the contract.
            NotFinite: the model returns NaN or infinity.
        """
        (result,) = self.predict_batch([prepare(payload)])
        if isinstance(result, Exception):
            raise result
        return result

    def predict_batch(self, inputs: list[Prepared]) -> list[Prediction | Exception]:
        """Answer several inputs in one run of the network; none spoils the answer of another."""
        probabilities, embeddings = self.run(np.stack([x for x, _ in inputs]))
        entropies = entropy(probabilities)
        found: list[Prediction | Exception] = []
        for i, best in enumerate(probabilities.argmax(axis=1)):
            # NaN wins an argmax; without one, rows sum to 1.
            confidence = float(probabilities[i, best])
            if math.isfinite(confidence):
                label = self.labels[best]
                facts = inputs[i].facts
                embedding = None if embeddings is None else embeddings[i]
                found.append(Prediction(label, confidence, facts, float(entropies[i]), embedding))
            else:
                answer = probabilities[i].tolist()
                found.append(NotFinite(f"model {self.sha256[:12]} answered {answer}"))
        return found


def prepare(payload: bytes) -> Prepared:
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


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Return how undecided each row of probabilities (n, labels) is: (n,), in nats."""
    return np.asarray(-(probabilities * np.log(probabilities + TINY)).sum(axis=1))
