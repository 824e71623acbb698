"""Export the trained model to ONNX, and compare its answers with those of Keras."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import onnx

from ..artifacts import write_report
from ..problem.answer import Head
from ..problem.given_outputs import find_meaning
from ..problem.outputs import expect
from ..refusal import Refusal
from ..task import given
from .given_graph import find_source, read_given
from .given_model import write_model
from .keras_model import load_checkpoint, predict
from .onnx_file import measure
from .splits import load_split


def export() -> None:
    """Write the ONNX file, and compare both models on held-out examples.

    Raises:
        SystemExit: the model cannot be exported; the message says what to change.
    """
    model, facts = load_checkpoint()
    head = Head.model_validate(facts)
    is_given = facts.pop("is_given")
    x, _, _ = load_split("test")
    raw = predict(model, x)
    names = list(getattr(given, "LABELS", ())) if is_given else head.names
    activation = getattr(given, "ACTIVATION", "") if is_given else ""
    try:
        graph = _convert(model)
        source = find_source(graph, "")
        meaning = find_meaning(raw, source.last, names, activation, head)
        exported = write_model(graph, source, raw, meaning, facts, x)
    except Refusal as error:
        raise SystemExit(f"The model cannot be exported. {error}") from None
    write_report("export", measure(exported, x, expect(raw, meaning, exported.head)))


def _convert(model: keras.Model) -> onnx.ModelProto:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is missing
    shape = (None, *model.input_shape[1:])
    signature = [keras.InputSpec(dtype="float32", shape=shape, name="x")]
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        model.export(path, format="onnx", input_signature=signature, verbose=False)
        return read_given(path)
