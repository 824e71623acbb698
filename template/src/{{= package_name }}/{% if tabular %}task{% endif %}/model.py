"""The network. Replace it freely: anything that `torch.onnx.export` takes will do."""

from torch import nn

WIDTH = 64


def build_model(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return a small multi-layer perceptron: float32 (n, width) to logits (n, classes)."""
    (inputs,) = input_shape
    return nn.Sequential(
        nn.Linear(inputs, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, classes),
    )
