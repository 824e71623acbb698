"""Bring a graph from elsewhere into the form that the pipeline expects.

That is one input `x`, float32 (batch, ...), and one output `logits`, float32 (batch, width), with a
free batch axis.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper, shape_inference

PREFIX = "given/"  # of names in the file: they cannot collide with those of the pipeline
FLOAT = onnx.TensorProto.FLOAT


class Source(NamedTuple):
    """The input and the output of a given file that the pipeline uses."""

    input: str
    dtype: np.dtype  # of the input
    shape: list[int | str]  # of the input, with the batch axis; empty if it is not declared
    output: str
    last: str  # the operator that computes the output


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
        node = maker_of(self._graph, self._end)
        while node and node.op_type == "Identity":
            node = maker_of(self._graph, node.input[0])
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
        node = maker_of(self._graph, "logits")
        while node and not (node.op_type in ("Gemm", "MatMul") and node.input[1] in weights):
            node = maker_of(self._graph, node.input[0]) if node.input else None
        if node is None or maker_of(self._graph, node.input[0]) is None:
            return
        inferred = shape_inference.infer_shapes(self.model).graph.value_info
        sizes = [shape_of(value) for value in inferred if value.name == node.input[0]]
        if not sizes or len(sizes[0]) != 2 or not isinstance(sizes[0][1], int):
            return
        _rename(self._graph, node.input[0], "embedding")
        self._graph.output.append(
            helper.make_tensor_value_info("embedding", FLOAT, ["batch", sizes[0][1]])
        )


def nodes_in(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph, and those inside of conditions and loops."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes_in(attribute.g)


def shape_of(value: onnx.ValueInfoProto) -> list[int | str]:
    sizes = value.type.tensor_type.shape.dim
    return [size.dim_param or size.dim_value for size in sizes]


def maker_of(graph: onnx.GraphProto, name: str) -> onnx.NodeProto | None:
    return next((node for node in graph.node if name in node.output), None)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in nodes_in(graph):
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
            left += [name for node in nodes_in(one) for name in node.input]
    nodes = [node for i, node in enumerate(graph.node) if i in kept]
    weights = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
