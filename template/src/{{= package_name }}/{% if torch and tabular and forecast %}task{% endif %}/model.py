"""The network. Replace it with any module that `torch.onnx.export` supports."""

import torch
from torch import nn

WIDTH = 64
SMALLEST = 1e-3  # of a spread: the values of a window may all be equal


class Forecaster(nn.Module):
    """A linear model and a perceptron of a window that is normalised by its own mean and spread.

    So large and small series share the weights (Kim et al. 2022, "Reversible instance
    normalization"). Most of a forecast is linear in the past (Zeng et al. 2023, "Are transformers
    effective for time series forecasting?").
    """

    def __init__(self, window: int, horizon: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(window, horizon)
        self.curved = nn.Sequential(
            nn.Linear(window, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, horizon),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        level = x.mean(dim=1, keepdim=True)
        centred = x - level
        spread = (centred**2).mean(dim=1, keepdim=True).sqrt() + SMALLEST
        shape = centred / spread
        return (self.curved(shape) + self.linear(shape)) * spread + level


def build_model(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return a small network: float32 (n, window) to standardised values (n, classes)."""
    return Forecaster(input_shape[0], classes, WIDTH)


def build_student(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return a network of half the width, which `compress` tries; optional."""
    return Forecaster(input_shape[0], classes, WIDTH // 2)
