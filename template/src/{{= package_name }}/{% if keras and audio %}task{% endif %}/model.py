"""The network. Replace it with any model of Keras, compiled or not."""

import keras
from keras import layers

WIDTH = 32


def build_model(input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Return a small temporal convnet: float32 (n, bands, frames) to scores (n, classes).

    Bands are channels: every kernel covers all frequencies (Choi et al. 2019, "Temporal convolution
    for real-time keyword spotting"). A model that is not compiled gets AdamW and the usual loss.
    """
    x = inputs = keras.Input(input_shape)
    x = layers.Permute((2, 1))(x)  # Keras has the channels last
    for width, stride in ((WIDTH, 1), (WIDTH, 2), (2 * WIDTH, 2)):
        x = layers.Conv1D(width, 5, stride, "same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalMaxPooling1D()(x)
    return keras.Model(inputs, layers.Dense(classes)(x))
