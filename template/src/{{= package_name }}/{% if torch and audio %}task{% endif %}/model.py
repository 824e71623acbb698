"""The network. Replace it with any module that `torch.onnx.export` supports."""

from torch import nn

WIDTH = 32


def build_model(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return a small temporal convnet: float32 (n, bands, frames) to logits (n, classes).

    Bands are channels: every kernel covers all frequencies (Choi et al. 2019, "Temporal convolution
    for real-time keyword spotting").
    """
    return _network(input_shape, classes, WIDTH)


def build_student(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return a convnet of half the width, which `compress` tries; optional."""
    return _network(input_shape, classes, WIDTH // 2)


def _network(input_shape: tuple[int, ...], classes: int, width: int) -> nn.Module:
    bands, *_ = input_shape
    return nn.Sequential(
        *_block(bands, width, stride=1),
        *_block(width, width, stride=2),
        *_block(width, 2 * width, stride=2),
        nn.AdaptiveMaxPool1d(1),
        nn.Flatten(),
        nn.Linear(2 * width, classes),
    )


def _block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    """Convolve over 100 ms or more, then normalise. Odd kernels keep frames aligned."""
    convolution = nn.Conv1d(inputs, outputs, 5, stride, padding=2, bias=False)
    return [convolution, nn.BatchNorm1d(outputs), nn.ReLU()]
