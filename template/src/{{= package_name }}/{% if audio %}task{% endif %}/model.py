"""The network. Replace it freely: anything that `torch.onnx.export` takes will do."""

from torch import nn

WIDTH = 32


def build_model(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return a small temporal convnet: float32 (n, bands, frames) to logits (n, classes).

    The bands are channels, so that every kernel hears all frequencies at once (Choi et al. 2019,
    "Temporal convolution for real-time keyword spotting on mobile devices").
    """
    bands, *_ = input_shape
    return nn.Sequential(
        *_block(bands, WIDTH, stride=1),
        *_block(WIDTH, WIDTH, stride=2),
        *_block(WIDTH, 2 * WIDTH, stride=2),
        nn.AdaptiveMaxPool1d(1),
        nn.Flatten(),
        nn.Linear(2 * WIDTH, classes),
    )


def _block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    """Convolve over 100 ms or more, then normalise; odd kernels keep the frames aligned."""
    convolution = nn.Conv1d(inputs, outputs, 5, stride, padding=2, bias=False)
    return [convolution, nn.BatchNorm1d(outputs), nn.ReLU()]
