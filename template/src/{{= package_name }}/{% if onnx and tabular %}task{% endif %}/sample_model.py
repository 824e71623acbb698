"""The first layer of the made-up model. Delete it once your model is in `model.onnx`."""


def filters() -> None:
    """Return none: the columns go straight into the dense layers."""
