"""Train a model elsewhere, as a team would: scikit-learn on arrays, written as ONNX.

It runs in a project after `featurize`. The labels are in reverse order, the input is float64 with a
fixed batch of one, the opset is old, and the file has two outputs.
"""

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from scratch_detector.pipeline.splits import load_head, load_split
from sklearn.neural_network import MLPClassifier, MLPRegressor

x, y, _ = load_split("train")
head = load_head()
flat = x.reshape(len(x), -1)
names = head.names[::-1]
if names:
    model = MLPClassifier((64, 64), random_state=0, max_iter=60, alpha=0.1)
    model.fit(flat, len(names) - 1 - y)
else:
    model = MLPRegressor(hidden_layer_sizes=(64, 64), random_state=0, max_iter=60)
    model.fit(flat, y[:, 0] / 100)
name, nodes = "flat", [helper.make_node("Flatten", ["features"], ["flat64"])]
nodes.append(helper.make_node("Cast", ["flat64"], ["flat"], to=TensorProto.FLOAT))
weights = []
layers = list(zip(model.coefs_, model.intercepts_, strict=True))
if not names:
    layers[-1] = tuple(100 * array for array in layers[-1])
for i, (weight, bias) in enumerate(layers):
    for kind, array in (("w", weight), ("b", bias)):
        weights.append(numpy_helper.from_array(array.astype(np.float32), f"{kind}{i}"))
    nodes.append(helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], [name := f"dense{i}"]))
    if i < len(layers) - 1:
        nodes.append(helper.make_node("Relu", [name], [name := f"relu{i}"]))
if not names:
    nodes.append(helper.make_node("Identity", [name], ["answers"]))
elif len(names) == 2:  # scikit-learn has one output for two labels
    nodes.append(helper.make_node("Sigmoid", [name], ["answers"]))
else:
    nodes.append(helper.make_node("Softmax", [name], ["answers"], axis=1))
nodes.append(helper.make_node("Neg", ["flat"], ["x"]))  # another output, with a usual name
width = layers[-1][1].size
graph = helper.make_graph(
    nodes,
    "elsewhere",
    [helper.make_tensor_value_info("features", TensorProto.DOUBLE, [1, *x.shape[1:]])],
    [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, flat.shape[1]]),
        helper.make_tensor_value_info("answers", TensorProto.FLOAT, [1, width]),
    ],
    weights,
)
opset = [helper.make_opsetid("", 11)]
onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=6), sys.argv[1])
print(names)
