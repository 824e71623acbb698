"""Write models/model.onnx from a graph that another exporter made."""

import json
from typing import Any

import numpy as np
import onnx

from ..artifacts import ONNX
from ..predictor import Predictor
from ..problem.answer import Head, difference
from ..problem.outputs import Meaning, steps, undone
from ..refusal import Refusal
from .graph import Graph, Source
from .onnx_file import tune_head

PROBED = 8  # examples, run together and one by one
# Far above rounding, which the gate `batch_parity` judges: the inputs of a batch are mixed up.
MIXED = 0.05


def write_model(
    model: onnx.ModelProto,
    source: Source,
    raw: np.ndarray,
    meaning: Meaning,
    facts: dict[str, Any],
    x: np.ndarray,
) -> Predictor:
    """Write the model in the form of the pipeline, with its metadata.

    `raw` are outputs of the given model for features `x`, (n, ...).

    Raises:
        Refusal: it cannot run several inputs together.
    """
    head = Head.model_validate(facts)
    finished = _normalise(Graph(model, source, x.shape[1:]), raw, meaning, head)
    onnx.helper.set_model_props(finished, {key: json.dumps(value) for key, value in facts.items()})
    ONNX.parent.mkdir(parents=True, exist_ok=True)
    ONNX.unlink(missing_ok=True)
    onnx.save(finished, ONNX)
    _refuse_mixed_batches(Predictor(ONNX), x[:PROBED])
    tune_head()
    return Predictor(ONNX)


def _normalise(graph: Graph, raw: np.ndarray, meaning: Meaning, head: Head) -> onnx.ModelProto:
    is_undone = raw.ndim == 2 and graph.remove_last(undone(meaning))
    if raw.dtype != np.float32:
        graph.append("Cast", to=onnx.TensorProto.FLOAT)
    if raw.ndim != 2:
        graph.append("Reshape", np.array([-1, raw[0].size], np.int64))
    for operator, second in steps(meaning, head, is_undone=is_undone):
        more = {"axis": 1} if operator == "Gather" else {}
        graph.append(operator, second, **more)
    return graph.finish(head.width)


def _refuse_mixed_batches(adopted: Predictor, x: np.ndarray) -> None:
    """Compare answers for inputs together with those for each alone.

    Raises:
        Refusal: the graph contains a fixed batch size, or mixes the inputs of a batch.
    """
    alone = np.concatenate([adopted.outputs(row[None]) for row in x])
    why = ""
    try:
        together = adopted.outputs(x)
        if together.shape != alone.shape:
            why = f"{len(together)} answers"
        elif (gap := difference(together, alone, adopted.head)) > MIXED:
            why = f"answers that differ by {gap:.2g}"
    except Exception as error:  # onnxruntime's errors have no narrower base class
        why = str(error).splitlines()[0]
    if why:
        rule = f"a free batch size: export with a dynamic first axis ({len(x)} inputs gave: {why})"
        raise Refusal("batch of the model", 1, rule, "dynamic_shapes=({0: 'batch'},)")
