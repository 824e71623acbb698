"""Core ML, for iPhones, iPads and Macs. Linux can write the files, only a Mac can run them."""

import sys
from math import prod
from pathlib import Path
from typing import Any

from .format import NotRunnableError, Run

FILE = "model.mlpackage"


def export(folder: Path) -> None:
    """Write `model.mlpackage` in float32: float16, the default, would fail the parity gate."""
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
    """Run the file on the CPU of a Mac; on other systems, only check its structure.

    Raises:
        NotRunnableError: this is not a Mac; the structure is correct.
        SystemExit: inputs, outputs or the number of weights differ from the network.
    """
    import coremltools as ct

    is_mac = sys.platform == "darwin"
    unit = ct.ComputeUnit.CPU_ONLY
    model = ct.models.MLModel(str(folder / FILE), compute_units=unit, skip_model_load=not is_mac)
    if is_mac:
        return lambda x: model.predict({"x": x})["logits"]
    _check_structure(model.get_spec())
    raise NotRunnableError("only a Mac runs it; inputs, outputs and number of weights are correct")


def _check_structure(spec: Any) -> None:
    """Compare names and shapes of inputs and outputs, and the number of weights.

    The file must contain all matrices and filters. Vectors do not count: the converter fuses
    normalisation into the previous layer.
    """
    from ..pipeline.train import load_checkpoint
    from ..problem.answer import Head

    network, checkpoint = load_checkpoint()
    width = Head.model_validate(checkpoint).width
    expected = {"x": [1, *checkpoint["input_shape"]], "logits": [1, width]}
    ends = [*spec.description.input, *spec.description.output]
    actual = {end.name: list(end.type.multiArrayType.shape) for end in ends}
    blocks = spec.mlProgram.functions["main"].block_specializations.values()
    values = [op.attributes["val"].type.tensorType for b in blocks for op in b.operations]
    weights = sum(prod(d.constant.size for d in value.dimensions) for value in values)
    needed = sum(weight.numel() for weight in network.parameters() if weight.dim() > 1)
    if actual != expected or weights < needed:
        contents = f"{FILE} has {actual} and {weights} weights"
        raise SystemExit(f"{contents}; the network has {expected} and {needed}.")
