"""The network. Replace it with any model of Keras, compiled or not."""

import keras
from keras import layers

WIDTH = 64


def build_model(input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Return a small multi-layer perceptron: float32 (n, width) to scores (n, classes).

    A model that is not compiled gets AdamW and the usual loss.
    """
    x = inputs = keras.Input(input_shape)
    for _ in range(2):
        x = layers.Dense(WIDTH, "relu")(x)
    return keras.Model(inputs, layers.Dense(classes)(x))
