"""Bring an ONNX file from elsewhere into the form that the pipeline expects.

That is one input `x`, float32 (batch, ...), and one output `logits`, float32 (batch, width), with a
free batch axis and an opset that the quantizers support.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import compose, helper, inliner, numpy_helper, shape_inference, version_converter

from ..refusal import Refusal

MIN_OPSET = 13  # int8 weights with one scale per channel
IR_VERSION = 8  # earlier ones list weights as inputs
DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}  # of operators that onnxruntime has
PREFIX = "given/"  # of names in the file: they cannot collide with those of the pipeline
FLOAT = onnx.TensorProto.FLOAT


class Source(NamedTuple):
    """The input and the output of a given file that the pipeline uses."""

    input: str
    dtype: np.dtype  # of the input
    shape: list[int | str]  # of the input, with the batch axis; empty if it is not declared
    output: str
    last: str  # the operator that computes the output


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
    if others := sorted({node.domain for node in _nodes(model.graph)} - DOMAINS):
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
        described = ", ".join(f"{v.name} {_shape(v)}" for v in model.graph.output)
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
    return Source(inputs[0].name, dtype, _shape(inputs[0]), chosen.name, last)


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


class Graph:
    """A graph that gets the input `x`, and more operators at its end."""

    def __init__(self, model: onnx.ModelProto, source: Source, shape: tuple[int, ...]) -> None:
        """Keep what the output needs; `shape` is that of one input."""
        self.model = compose.add_prefix(model, PREFIX)
        self._graph = self.model.graph
        self._end = PREFIX + source.output
        self._add_input(PREFIX + source.input, source.dtype, shape)
        del self._graph.output[:]
        del self._graph.value_info[:]  # types of the old names, with the old batch size

    def _add_input(self, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        del self._graph.input[:]
        self._graph.input.append(helper.make_tensor_value_info("x", FLOAT, ["batch", *shape]))
        if dtype == np.float32:
            _rename(self._graph, name, "x")
        else:
            kind = helper.np_dtype_to_tensor_dtype(dtype)
            self._graph.node.insert(0, helper.make_node("Cast", ["x"], [name], to=kind))

    def remove_last(self, operator: str) -> bool:
        """Remove an activation over the last axis from the end; return whether it was there."""
        node = _maker(self._graph, self._end)
        while node and node.op_type == "Identity":
            node = _maker(self._graph, node.input[0])
        if not operator or node is None or node.op_type != operator:
            return False
        axes = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
        if operator == "Softmax" and (axes or [-1])[0] not in (-1, 1):
            return False
        self._end = node.input[0]
        return True

    def append(self, operator: str, second: np.ndarray | None = None, **attributes: Any) -> None:
        """Add an operator to the end, with a constant as its second input."""
        number = len(self._graph.node)
        inputs, output = [self._end], f"adopted_{number}"
        if second is not None:
            inputs.append(f"adopted_{number}_constant")
            self._graph.initializer.append(numpy_helper.from_array(second, inputs[-1]))
        self._graph.node.append(helper.make_node(operator, inputs, [output], **attributes))
        self._end = output

    def finish(self, width: int) -> onnx.ModelProto:
        """Name the end `logits`, and drop all that it does not need."""
        _prune(self._graph, self._end)
        _rename(self._graph, self._end, "logits")
        value = helper.make_tensor_value_info("logits", FLOAT, ["batch", width])
        self._graph.output.append(value)
        self._show_embedding()
        return self.model

    def _show_embedding(self) -> None:
        """Add the input of the last dense layer, (n, size), as output `embedding`, for drift."""
        weights = {tensor.name for tensor in self._graph.initializer}
        node = _maker(self._graph, "logits")
        while node and not (node.op_type in ("Gemm", "MatMul") and node.input[1] in weights):
            node = _maker(self._graph, node.input[0]) if node.input else None
        if node is None or _maker(self._graph, node.input[0]) is None:
            return
        inferred = shape_inference.infer_shapes(self.model).graph.value_info
        sizes = [_shape(value) for value in inferred if value.name == node.input[0]]
        if not sizes or len(sizes[0]) != 2 or not isinstance(sizes[0][1], int):
            return
        _rename(self._graph, node.input[0], "embedding")
        self._graph.output.append(
            helper.make_tensor_value_info("embedding", FLOAT, ["batch", sizes[0][1]])
        )


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph, and those inside of conditions and loops."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    sizes = value.type.tensor_type.shape.dim
    return [size.dim_param or size.dim_value for size in sizes]


def _maker(graph: onnx.GraphProto, name: str) -> onnx.NodeProto | None:
    return next((node for node in graph.node if name in node.output), None)


def _last_operator(graph: onnx.GraphProto, name: str) -> str:
    node = _maker(graph, name)
    while node and node.op_type == "Identity":
        node = _maker(graph, node.input[0])
    return node.op_type if node else ""


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in _nodes(graph):
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new


def _prune(graph: onnx.GraphProto, end: str) -> None:
    """Remove the nodes and weights that do not lead to `end`."""
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output}
    kept, used, left = set[int](), set[str](), [end]
    while left:
        name = left.pop()
        used.add(name)
        if (i := makers.get(name, -1)) >= 0 and i not in kept:
            kept.add(i)
            one = onnx.GraphProto(node=[graph.node[i]])
            left += [name for node in _nodes(one) for name in node.input]
    nodes = [node for i, node in enumerate(graph.node) if i in kept]
    weights = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
