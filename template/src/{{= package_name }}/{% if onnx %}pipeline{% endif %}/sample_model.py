"""Write a model for the sample data, which stands in until there is `task/model.onnx`."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from ..intake import take_in
from ..problem.answer import Head, encode, read
from ..problem.sample_layers import SAMPLE_ACTIVATION, fit_sample
from ..refusal import Refusal
from ..task.features import features

PACKAGE = __package__.partition(".")[0]
EXAMPLES, SEED = 4000, 1  # the sample of the project has another seed
OPSET = 17
IR_VERSION = 8
FLOAT = onnx.TensorProto.FLOAT


def write_sample(path: Path, head: Head, seed: int) -> None:
    """Fit dense layers behind the fixed filters of task/sample_model.py, on other made-up examples.

    Raises:
        Refusal: `task/sample_model.py` was deleted.
    """
    try:
        filters = import_module("..task.sample_model", __package__).filters()
        make_examples = import_module("..task.sample_data", __package__).sample_examples
    except ModuleNotFoundError as error:
        if not str(error.name).startswith(f"{PACKAGE}.task.sample_"):
            raise
        rule = "a trained model, since task/sample_model.py is deleted; copy yours there"
        raise Refusal("task/model.onnx", "no file", rule, "cp ~/best.onnx ...") from None
    examples = list(make_examples(EXAMPLES, seed=SEED))
    x = np.stack([features(take_in(example.payload).raw) for example in examples])
    truth = encode([read(example.label) for example in examples], head)
    nodes, weights = _pooled_filters(filters)
    hidden = _run(nodes, weights, x)
    (first, bias), *layers = fit_sample(
        (hidden - hidden.mean(0)) / (hidden.std(0) + 1e-6), truth, head, seed
    )
    first = first / (hidden.std(0) + 1e-6)[:, None]  # the first layer also standardises
    layers = [(first, bias - hidden.mean(0) @ first), *layers]
    name = "hidden"
    for i, (weight, bias) in enumerate(layers):
        for kind, array in (("w", weight), ("b", bias)):
            weights.append(numpy_helper.from_array(array.astype(np.float32), f"{kind}{i}"))
        nodes.append(helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], [name := f"dense{i}"]))
        if i < len(layers) - 1:
            nodes.append(helper.make_node("Relu", [name], [name := f"relu{i}"]))
    nodes.append(helper.make_node(SAMPLE_ACTIVATION, [name], ["output"]))
    model = _model(nodes, weights, x, "output", head.width)
    helper.set_model_props(model, {"labels": json.dumps(head.names)})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def _pooled_filters(
    filters: np.ndarray | None,
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return operators from `input` to `hidden` (n, size): a convolution, its maxima and means."""
    if filters is None:
        return [helper.make_node("Identity", ["input"], ["hidden"])], []
    nodes = [
        helper.make_node("Conv", ["input", "filters"], ["found"]),
        helper.make_node("Relu", ["found"], ["positive"]),
        helper.make_node("GlobalMaxPool", ["positive"], ["largest"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["mean"]),
        helper.make_node("Concat", ["largest", "mean"], ["both"], axis=1),
        helper.make_node("Flatten", ["both"], ["hidden"]),
    ]
    return nodes, [numpy_helper.from_array(filters, "filters")]


def _run(nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], x: np.ndarray) -> np.ndarray:
    """Return `hidden` for all inputs, float32 (n, size)."""
    model = _model(nodes, weights, x, "hidden", "size")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    batches = np.array_split(x, -(-len(x) // 64))
    return np.concatenate([session.run(None, {"input": batch})[0] for batch in batches])


def _model(
    nodes: list[onnx.NodeProto],
    weights: list[onnx.TensorProto],
    x: np.ndarray,
    output: str,
    width: int | str,
) -> onnx.ModelProto:
    source = helper.make_tensor_value_info("input", FLOAT, ["n", *x.shape[1:]])
    result = helper.make_tensor_value_info(output, FLOAT, ["n", width])
    graph = helper.make_graph(nodes, "sample", [source], [result], weights)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
