"""Models with a planted fault, run in the environment of a render: `fabricate.py KIND IN OUT`.

Each answers to the same name and shape as the model it is made from, with the same metadata.
"""

import sys
from functools import partial

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 256  # a product of two such matrices takes some milliseconds
SLOWER = {"products": 16, "side": 128}  # a table takes three times as long or more, caches cold


def nan(graph: onnx.GraphProto) -> None:
    """Answer with what is no number."""
    graph.initializer.append(numpy_helper.from_array(np.float32(np.nan), "fault"))
    graph.node.append(helper.make_node("Mul", ["honest", "fault"], ["logits"]))


def slow(graph: onnx.GraphProto, products: int = 20, side: int = SIDE) -> None:
    """Answer the same after many products of large matrices, which depend on the input."""
    noise = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32) / side
    graph.initializer.append(numpy_helper.from_array(noise, "noise"))
    graph.initializer.append(numpy_helper.from_array(np.float32(1e-30), "little"))
    graph.node.append(helper.make_node("ReduceMean", [graph.input[0].name], ["s"], keepdims=0))
    graph.node.append(helper.make_node("Mul", ["noise", "s"], ["product0"]))
    for i in range(products):
        names = [f"product{i}", "noise"]
        graph.node.append(helper.make_node("MatMul", names, [f"product{i + 1}"]))
    graph.node.append(helper.make_node("ReduceMean", [f"product{products}"], ["m"], keepdims=0))
    graph.node.append(helper.make_node("Mul", ["m", "little"], ["nothing"]))
    graph.node.append(helper.make_node("Add", ["honest", "nothing"], ["logits"]))


def turned(graph: onnx.GraphProto) -> None:
    """Answer the opposite."""
    graph.initializer.append(numpy_helper.from_array(np.float32(-1), "fault"))
    graph.node.append(helper.make_node("Mul", ["honest", "fault"], ["logits"]))


def unsure(graph: onnx.GraphProto) -> None:
    """Answer the same, and be much less sure of it."""
    graph.initializer.append(numpy_helper.from_array(np.float32(0.01), "fault"))
    graph.node.append(helper.make_node("Mul", ["honest", "fault"], ["logits"]))


FAULTS = {
    "nan": nan,
    "slow": slow,
    "slower": partial(slow, **SLOWER),
    "turned": turned,
    "unsure": unsure,
}


def main(kind: str, source: str, target: str) -> None:
    """Write the model with the fault."""
    model = onnx.load(source)
    if kind == "newer-opset":
        model.opset_import[0].version = 99
    elif kind == "again":  # no fault: the same answers from another file
        model.metadata_props.add(key="again", value="1")
    else:
        for node in model.graph.node:
            node.output[:] = ["honest" if name == "logits" else name for name in node.output]
        FAULTS[kind](model.graph)
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    onnx.save(model, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
