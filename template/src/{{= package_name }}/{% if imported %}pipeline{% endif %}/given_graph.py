"""Read an ONNX file from elsewhere, and find the input and the output to use."""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, inliner, numpy_helper, version_converter

from ..refusal import Refusal
from .graph import Source, maker_of, nodes_in, shape_of

MIN_OPSET = 13  # int8 weights with one scale per channel
IR_VERSION = 8  # earlier ones list weights as inputs
DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}  # of operators that onnxruntime has


def read_given(path: Path) -> onnx.ModelProto:
    """Read a file, and make its form current; its outputs stay the same.

    Raises:
        Refusal: it is not an ONNX file that onnxruntime can run, or a weight is NaN.
    """
    try:
        model = onnx.load(path)
        is_model = bool(model.graph.node)
    except Exception as error:  # protobuf, missing weight files: no narrower base class
        rule = f"an ONNX file ({str(error).splitlines()[0]}); docs/training.md has the exporters"
        raise Refusal("model", path.name, rule, "model.onnx") from None
    if not is_model:
        rule = "an ONNX file with operators; docs/training.md has the exporters"
        raise Refusal("model", path.name, rule, "model.onnx")
    if model.functions:
        model = inliner.inline_local_functions(model)
    if others := sorted({node.domain for node in nodes_in(model.graph)} - DOMAINS):
        rule = "only operators that onnxruntime has; export without custom operators"
        raise Refusal("operators of the model", others, rule, "ai.onnx")
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype.kind == "f" and np.isnan(array).any():
            count = f"{np.isnan(array).sum()} of {array.size} NaN"
            rule = "finite weights; this training diverged, or the export is damaged"
            raise Refusal(f"weights {tensor.name}", count, rule, 0.5)
    model.ir_version = max(model.ir_version, IR_VERSION)
    return _raise_opset(model)


def _raise_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    versions = [each for each in model.opset_import if each.domain in ("", "ai.onnx")]
    if not versions:  # only trees and other operators of ai.onnx.ml
        model.opset_import.append(helper.make_opsetid("", MIN_OPSET))
    elif (found := versions[0].version) < MIN_OPSET:
        try:
            return version_converter.convert_version(model, MIN_OPSET)
        except Exception as error:  # raised from C++
            why = str(error).splitlines()[0][:100]
            rule = f"{MIN_OPSET} or later, and it cannot be raised ({why}); export the model again"
            raise Refusal("opset of the model", found, rule, 17) from None
    return model


def find_source(model: onnx.ModelProto, output: str) -> Source:
    """Find the input, and the output with this name, or the only one.

    Raises:
        Refusal: there are several inputs, no such output, or several without a name.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        rule = (
            "one input; make constants of the others, and start a state from zero inside the file:"
            " wrap the model, then export it again"
        )
        raise Refusal("inputs of the model", [value.name for value in inputs], rule, ["input"])
    names = [value.name for value in model.graph.output]
    if (output and output not in names) or (not output and len(names) > 1):
        described = ", ".join(f"{v.name} {shape_of(v)}" for v in model.graph.output)
        rule = f"one of the outputs of the model: {described}"
        raise Refusal("OUTPUT in task/given.py", output, rule, names[-1])
    chosen = next(value for value in model.graph.output if value.name == (output or names[0]))
    if not chosen.type.HasField("tensor_type"):
        rule = "a tensor; with skl2onnx, convert with options={'zipmap': False}"
        raise Refusal("output of the model", chosen.name, rule, "probabilities")
    kind = inputs[0].type.tensor_type.elem_type
    if kind == onnx.TensorProto.STRING:
        rule = "numbers; encode texts in features() of task/features.py"
        raise Refusal("input of the model", f"{inputs[0].name}: strings", rule, "float32")
    last = _last_operator(model.graph, chosen.name)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    return Source(inputs[0].name, dtype, shape_of(inputs[0]), chosen.name, last)


def check_shape(source: Source, shape: tuple[int, ...]) -> None:
    """Compare the declared shape of one input with that of the features.

    Raises:
        Refusal: they differ.
    """
    declared = source.shape[1:]
    sizes = zip(declared, shape, strict=False)
    is_other = any(isinstance(a, int) and a > 0 and a != b for a, b in sizes)
    if source.shape and (is_other or len(declared) != len(shape)):
        rule = f"the shape of the model's input, {declared}, without the batch; edit features()"
        raise Refusal("shape of features() in task/features.py", list(shape), rule, declared)


def _last_operator(graph: onnx.GraphProto, name: str) -> str:
    node = maker_of(graph, name)
    while node and node.op_type == "Identity":
        node = maker_of(graph, node.input[0])
    return node.op_type if node else ""
