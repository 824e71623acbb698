"""Convert the fitted model to ONNX, and compare its answers with those of the original."""

import json
from typing import Any

import numpy as np
import onnx

from ..artifacts import ONNX, write_report
from ..predictor import Predictor
from ..problem.answer import Head
from ..problem.estimators import find_meaning, predict
from ..problem.outputs import Meaning, expect, steps
from ..refusal import Refusal
from .estimator import convert, load_checkpoint
from .graph import Graph, Source
from .onnx_file import measure, tune_head
from .splits import load_split


def export() -> None:
    """Write the ONNX file, and compare both models on held-out examples.

    Raises:
        SystemExit: there is no converter for the model.
    """
    model, facts = load_checkpoint()
    head = Head.model_validate(facts)
    x, _, _ = load_split("test")
    raw = predict(model, x)
    meaning = find_meaning(raw, facts.pop("classes"), head)
    ONNX.unlink(missing_ok=True)
    try:
        graph = convert(model, x.shape[1])
    except Refusal as error:
        raise SystemExit(f"The model cannot be exported. {error}") from None
    onnx.save(_normalise(graph, meaning, facts, x.shape[1:]), ONNX)
    tune_head()
    write_report("export", measure(Predictor(ONNX), x, expect(raw, meaning, head)))


def _normalise(
    model: onnx.ModelProto, meaning: Meaning, facts: dict[str, Any], shape: tuple[int, ...]
) -> onnx.ModelProto:
    """Return the model in the form of the pipeline, with its metadata."""
    head = Head.model_validate(facts)
    name = model.graph.output[-1].name  # a classifier has the most probable label before it
    graph = Graph(model, Source("x", np.dtype(np.float32), [], name, ""), shape)
    for operator, second in steps(meaning, head, is_undone=False):
        more = {"axis": 1} if operator == "Gather" else {}
        graph.append(operator, second, **more)
    finished = graph.finish(head.width)
    onnx.helper.set_model_props(finished, {key: json.dumps(value) for key, value in facts.items()})
    return finished
