"""Plant a fault in a model, in the environment of a render: `fabricate.py KIND IN OUT`.

Inputs, outputs and metadata stay those of the original model.
"""

import sys
from functools import partial

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 256  # a product of two such matrices takes some milliseconds
SLOWER = {"products": 16, "side": 128}  # at least three times slower for tables, caches cold


def nan(graph: onnx.GraphProto) -> None:
    """Return NaN for all probabilities."""
    graph.initializer.append(numpy_helper.from_array(np.float32(np.nan), "fault"))
    graph.node.append(helper.make_node("Mul", ["original", "fault"], ["logits"]))


def slow(graph: onnx.GraphProto, products: int = 20, side: int = SIDE) -> None:
    """Return the same answer after many products of large matrices per example."""
    noise = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32) / side
    for name, value in {
        "noise": noise,
        "little": np.float32(1e-30),
        "first": np.array([0], np.int64),
        "cube": np.array([-1, 1, 1], np.int64),
    }.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))

    def add(kind: str, inputs: list[str], output: str, **how: int) -> None:
        graph.node.append(helper.make_node(kind, inputs, [output], **how))

    add("Flatten", [graph.input[0].name], "flat", axis=1)
    add("Gather", ["flat", "first"], "one", axis=1)
    add("Reshape", ["one", "cube"], "each")
    add("Mul", ["noise", "each"], "product0")
    for i in range(products):
        add("MatMul", [f"product{i}", "noise"], f"product{i + 1}")
    add("Flatten", [f"product{products}"], "long", axis=1)
    add("Gather", ["long", "first"], "last", axis=1)
    add("Mul", ["last", "little"], "nothing")
    add("Add", ["original", "nothing"], "logits")


def turned(graph: onnx.GraphProto) -> None:
    """Return the opposite answer."""
    graph.initializer.append(numpy_helper.from_array(np.float32(-1), "fault"))
    graph.node.append(helper.make_node("Mul", ["original", "fault"], ["logits"]))


def unsure(graph: onnx.GraphProto) -> None:
    """Return the same label with a much lower confidence."""
    graph.initializer.append(numpy_helper.from_array(np.float32(0.01), "fault"))
    graph.node.append(helper.make_node("Mul", ["original", "fault"], ["logits"]))


def unready(graph: onnx.GraphProto) -> None:
    """Return NaN unless all inputs are zero, by the square root of a negative number."""
    graph.node.append(helper.make_node("Abs", [graph.input[0].name], ["size"]))
    graph.node.append(helper.make_node("ReduceMax", ["size"], ["largest"], keepdims=0))
    graph.node.append(helper.make_node("Neg", ["largest"], ["negative"]))
    graph.node.append(helper.make_node("Sqrt", ["negative"], ["fault"]))
    graph.node.append(helper.make_node("Add", ["original", "fault"], ["logits"]))


FAULTS = {
    "nan": nan,
    "slow": slow,
    "slower": partial(slow, **SLOWER),
    "turned": turned,
    "unsure": unsure,
    "unready": unready,
}


def main(kind: str, source: str, target: str) -> None:
    """Write the model with the fault."""
    model = onnx.load(source)
    if kind == "newer-opset":
        model.opset_import[0].version = 99
    elif kind == "again":  # no fault: the same model in another file
        model.metadata_props.add(key="again", value="1")
    elif kind == "old":  # the same model, trained long ago
        (trained,) = (prop for prop in model.metadata_props if prop.key == "trained_at")
        trained.value = "0.0"
    else:
        for node in model.graph.node:
            node.output[:] = ["original" if name == "logits" else name for name in node.output]
        FAULTS[kind](model.graph)
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    onnx.save(model, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
