"""A model that has run: how long an answer takes it, and whether batches pay, is measured."""

import time
from collections import deque
from dataclasses import dataclass
from statistics import median

import numpy as np

from ..predictor import Prediction, Predictor, Prepared

MAX_BATCH = 8
TIMED_S = 0.1
LATELY = 9  # answers


class Pace:
    """How long something takes lately: the median, for which one stall is no reason to worry."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last = deque([seconds], LATELY)

    def learn(self, seconds: float) -> None:
        """Take in one more."""
        self._last.append(seconds)
        self.seconds = median(self._last)


@dataclass(eq=False)
class Warm:
    """A model that has run, how long one answer takes the network, and how many go together."""

    predictor: Predictor
    pace: Pace
    max_batch: int

    @classmethod
    def up(cls, predictor: Predictor) -> "Warm":
        """Run the network on zeros, alone and in full batches, for a tenth of a second or once."""
        times_s: dict[int, list[float]] = {1: [], MAX_BATCH: []}
        until = time.perf_counter() + TIMED_S
        while not times_s[MAX_BATCH] or time.perf_counter() < until:
            for size, found in times_s.items():
                x = np.zeros((size, *predictor.input_shape), np.float32)
                start = time.perf_counter()
                predictor.probabilities(x)
                found.append((time.perf_counter() - start) / size)
        alone_s, together_s = (median(found) for found in times_s.values())
        return cls(predictor, Pace(alone_s), MAX_BATCH if together_s < alone_s else 1)

    def answers(self, inputs: list[Prepared]) -> list[Prediction | Exception]:
        """Run the network once, and learn how long it took."""
        start = time.perf_counter()
        try:
            return self.predictor.answers(inputs)
        except Exception as error:  # onnxruntime's errors share no other base class
            return [error] * len(inputs)
        finally:
            self.pace.learn((time.perf_counter() - start) / len(inputs))
