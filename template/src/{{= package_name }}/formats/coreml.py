"""Core ML, for iPhones, iPads and Macs. Linux can write it, but only a Mac runs it."""

import sys
from math import prod
from pathlib import Path
from typing import Any

from .format import NotRunnableError, Run

FILE = "model.mlpackage"


def export(folder: Path) -> None:
    """Write `model.mlpackage`, in float32: the default, float16, would break parity."""
    import coremltools as ct
    import numpy as np

    from .torch_program import export_program

    program = export_program()
    shape = tuple(program.example_inputs[0][0].shape)
    converted = ct.convert(
        program,
        inputs=[ct.TensorType("x", shape, np.float32)],
        outputs=[ct.TensorType("logits", dtype=np.float32)],
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT32,
    )
    converted.save(str(folder / FILE))


def load(folder: Path) -> Run:
    """Run it on a Mac's CPU; elsewhere check its structure.

    Raises:
        NotRunnableError: this is no Mac, and the structure is right.
        SystemExit: input, output or the number of weights is not the network's.
    """
    import coremltools as ct

    is_mac = sys.platform == "darwin"
    unit = ct.ComputeUnit.CPU_ONLY
    model = ct.models.MLModel(str(folder / FILE), compute_units=unit, skip_model_load=not is_mac)
    if is_mac:
        return lambda x: model.predict({"x": x})["logits"]
    _check_structure(model.get_spec())
    raise NotRunnableError("only a Mac runs it; input, output and number of weights are right")


def _check_structure(spec: Any) -> None:
    """Compare the names and shapes of input and output, and the number of weights.

    The file must have at least the weights of layers (matrices and filters). Vectors do not count:
    the converter folds a normalisation into the layer before it.
    """
    from ..pipeline.train import load_checkpoint

    network, checkpoint = load_checkpoint()
    expected = {"x": [1, *checkpoint["input_shape"]], "logits": [1, len(checkpoint["labels"])]}
    ends = [*spec.description.input, *spec.description.output]
    found = {end.name: list(end.type.multiArrayType.shape) for end in ends}
    blocks = spec.mlProgram.functions["main"].block_specializations.values()
    values = [op.attributes["val"].type.tensorType for b in blocks for op in b.operations]
    weights = sum(prod(d.constant.size for d in value.dimensions) for value in values)
    needed = sum(weight.numel() for weight in network.parameters() if weight.dim() > 1)
    if found != expected or weights < needed:
        raise SystemExit(f"{FILE} takes and gives {found} with {weights} weights, not {expected}")
