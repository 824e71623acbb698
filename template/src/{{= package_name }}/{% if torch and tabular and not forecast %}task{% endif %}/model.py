"""The network. Replace it with any module that `torch.onnx.export` supports."""

from torch import nn

WIDTH = 64


def build_model(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return a small multi-layer perceptron: float32 (n, width) to logits (n, classes)."""
    return _network(input_shape, classes, WIDTH)


def build_student(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return a perceptron of half the width, which `compress` tries; optional."""
    return _network(input_shape, classes, WIDTH // 2)


def _network(input_shape: tuple[int, ...], classes: int, width: int) -> nn.Module:
    (inputs,) = input_shape
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, classes),
    )
