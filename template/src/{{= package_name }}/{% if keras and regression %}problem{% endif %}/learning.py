"""How a network learns one number with Keras."""

from typing import Any

import keras

from .keys import ProblemScope
from .losses import QUANTILE
from .rescaling import finish as finish


def pinball_loss(targets: Any, scores: Any) -> Any:
    """Return the loss of the quantile that the metric `pinball` measures."""
    missing = targets - scores
    return keras.ops.mean(keras.ops.maximum(QUANTILE * missing, (QUANTILE - 1) * missing), axis=-1)


def choose_loss(limits: ProblemScope) -> Any:
    """Return the loss for the metric of scope.yaml.

    The Huber loss is the usual one: one wild target does not decide the fit.
    """
    return pinball_loss if limits.metric == "pinball" else keras.losses.Huber()
