"""The network. Replace it with any module that `torch.onnx.export` supports."""

from torch import nn

WIDTH = 16


def build_model(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return a small convnet: float32 (n, 3, height, width) to logits (n, classes)."""
    return _network(input_shape, classes, WIDTH)


def build_student(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return a convnet of half the width, which `compress` tries; optional."""
    return _network(input_shape, classes, WIDTH // 2)


def _network(input_shape: tuple[int, ...], classes: int, width: int) -> nn.Module:
    channels, *_ = input_shape
    return nn.Sequential(
        *_block(channels, width, stride=2),
        *_block(width, 2 * width, stride=2),
        *_block(2 * width, 4 * width, stride=2),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, classes),
    )


def _block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    """Convolve, then normalise. Dense 3x3 kernels lose little accuracy in int8."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
