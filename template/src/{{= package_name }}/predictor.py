"""Predict with an ONNX file; this module and its imports need no training framework."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from .artifacts import ONNX_INT8
from .framework.external_data import refuse_external_data
from .intake import take_in
from .problem.answer import Head, decode, to_answers
from .task.features import FEATURES_VERSION, features

INT8_WEIGHTS = "int8_weights"  # the variant whose weights alone are in int8
REMEDY = "Run `make model`, or pull a release."


class Prediction(NamedTuple):
    """The answer of a model, and the facts of the input."""

    answer: dict[str, Any]  # the fields of `problem.answer.Predicted`
    facts: dict[str, float]
    outputs: np.ndarray  # float32 (width,): decoded
    embedding: np.ndarray | None = None  # float32 (width,): input of the last layer


class Prepared(NamedTuple):
    """Features, float32 in the input shape of the network, and the facts of the payload."""

    x: np.ndarray
    facts: dict[str, float]


class NotFinite(ArithmeticError):
    """The model returned NaN or infinity."""


class Predictor:
    """An ONNX model in an onnxruntime session: a file, or the verified bytes of one.

    Raises:
        SystemExit: the file is missing, not a model of one file for this project and its features.
    """

    def __init__(self, file: Path | bytes = ONNX_INT8, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.load_model_format", "ONNX")
        path = "The model" if isinstance(file, bytes) else str(file)
        try:
            model = file if isinstance(file, bytes) else file.read_bytes()
            refuse_external_data(model)
            self._session = onnxruntime.InferenceSession(model, options)
            metadata = self._session.get_modelmeta().custom_metadata_map
            self.candidate = metadata.get("candidate", "")  # the variant that `compress` chose
            if self.candidate == INT8_WEIGHTS:  # decode them now, not in each run
                options.add_session_config_entry("session.disable_quant_qdq", "1")
                self._session = onnxruntime.InferenceSession(model, options)
            known = {name: json.loads(metadata[name]) for name in Head.model_fields}
            self.head = Head.model_validate(known)
            self.input_shape = tuple(self._session.get_inputs()[0].shape[1:])
            self._outputs = [output.name for output in self._session.get_outputs()]
            self.trained_at: float = json.loads(metadata["trained_at"])
            version = json.loads(metadata["features_version"])
        except Exception as error:  # onnxruntime's errors have no narrower base class
            why = str(error).splitlines()[0]
            raise SystemExit(f"{path} is not a model of this project ({why}). {REMEDY}") from None
        if version != FEATURES_VERSION:
            versions = f"features version {version}, but the code computes {FEATURES_VERSION}"
            raise SystemExit(f"{path} needs {versions}. {REMEDY}")
        self.sha256 = hashlib.sha256(model).hexdigest()

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """Run the network on float32 features (n, ...), and decode its outputs (n, width)."""
        return self.run(x)[0]

    def run(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return outputs and embeddings, the float32 (n, size) inputs of the last layer.

        Embeddings are None for networks without a final linear layer, and files before 0.3.0.
        """
        outputs = dict(zip(self._outputs, self._session.run(self._outputs, {"x": x}), strict=True))
        return decode(outputs["logits"], self.head), outputs.get("embedding")

    def predict(self, payload: bytes) -> Prediction:
        """Predict one payload.

        Raises:
            Refusal: the payload cannot be decoded, or is invalid.
            NotFinite: the model returns NaN or infinity.
        """
        (result,) = self.predict_batch([prepare(payload)])
        if isinstance(result, Exception):
            raise result
        return result

    def predict_batch(self, inputs: list[Prepared]) -> list[Prediction | Exception]:
        """Predict several inputs in one run; an error of one input does not affect the others."""
        outputs, embeddings = self.run(np.stack([x for x, _ in inputs]))
        answers = to_answers(outputs, self.head)
        results: list[Prediction | Exception] = []
        for i, is_finite in enumerate(np.isfinite(outputs).all(axis=1).tolist()):
            if is_finite:
                embedding = None if embeddings is None else embeddings[i]
                results.append(Prediction(answers[i], inputs[i].facts, outputs[i], embedding))
            else:
                results.append(NotFinite(f"model {self.sha256[:12]} returned {outputs[i]}"))
        return results


def prepare(payload: bytes) -> Prepared:
    """Decode, validate and featurize a payload.

    Raises:
        Refusal: the payload cannot be decoded, or is invalid.
    """
    raw, facts = take_in(payload)
    return Prepared(features(raw), facts)
