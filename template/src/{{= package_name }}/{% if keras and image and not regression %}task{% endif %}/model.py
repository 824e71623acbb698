"""The network. Replace it with any model of Keras, compiled or not."""

import keras
from keras import layers

WIDTH = 16


def build_model(input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Return a small convnet: float32 (n, 3, height, width) to logits (n, classes).

    A model that is not compiled gets AdamW and the usual loss.
    """
    x = inputs = keras.Input(input_shape)
    x = layers.Permute((2, 3, 1))(x)  # Keras has the channels last
    for width in (WIDTH, 2 * WIDTH, 4 * WIDTH):
        x = layers.Conv2D(width, 3, 2, "same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes)(x))
