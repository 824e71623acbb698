"""A model that has run: how long an answer takes it, and whether batches pay, is measured."""

import time
from dataclasses import dataclass
from statistics import median

import numpy as np

from .predictor import Prediction, Predictor, Prepared

MAX_BATCH = 8
TIMED_S = 0.1
LEARNING_RATE = 0.1


@dataclass(eq=False)
class Warm:
    """A model that has run, how long one answer takes the network, and how many go together."""

    predictor: Predictor
    seconds_each: float
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
        return cls(predictor, alone_s, MAX_BATCH if together_s < alone_s else 1)

    def answers(self, inputs: list[Prepared]) -> list[Prediction | Exception]:
        """Run the network once, and learn how long it took."""
        start = time.perf_counter()
        try:
            return self.predictor.answers(inputs)
        except Exception as error:  # onnxruntime's errors share no other base class
            return [error] * len(inputs)
        finally:
            each_s = (time.perf_counter() - start) / len(inputs)
            self.seconds_each += LEARNING_RATE * (each_s - self.seconds_each)
