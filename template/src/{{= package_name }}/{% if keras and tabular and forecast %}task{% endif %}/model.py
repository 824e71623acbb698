"""The network. Replace it with any model of Keras, compiled or not."""

import keras
from keras import layers, ops

WIDTH = 64
SMALLEST = 1e-3  # of a spread: the values of a window may all be equal


def build_model(input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Return a small network: float32 (n, window) to standardised values (n, classes).

    It is a linear model and a perceptron of a window that is normalised by its own mean and spread,
    so large and small series share the weights (Kim et al. 2022, "Reversible instance
    normalization"). Most of a forecast is linear in the past (Zeng et al. 2023, "Are transformers
    effective for time series forecasting?"). A model that is not compiled gets AdamW and the usual
    loss.
    """
    window = keras.Input(input_shape)
    level = ops.mean(window, axis=1, keepdims=True)
    centred = window - level
    spread = ops.sqrt(ops.mean(ops.square(centred), axis=1, keepdims=True)) + SMALLEST
    x = shape = centred / spread
    for _ in range(2):
        x = layers.Dense(WIDTH, "relu")(x)
    forecast = layers.Dense(classes)(x) + layers.Dense(classes)(shape)
    return keras.Model(window, forecast * spread + level)
