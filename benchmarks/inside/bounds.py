"""Print how often the bounds of a render hold: `[metric, population, examples, share]` per line.

python bounds.py PACKAGE SAMPLES CONFIDENCE
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np

Sample = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]  # truth, outputs
TRUE_N = 400_000  # examples whose metric counts as the true value
HORIZON = 7

package, samples, confidence = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
problem = import_module(f"{package}.problem")
metrics = import_module(f"{package}.problem.metrics")
answer = import_module(f"{package}.problem.answer")


def draw_labels(
    share: float, frequencies: list[float], rng: np.random.Generator, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels, and predictions of which a share is right; the others are the next label."""
    truth = rng.choice(len(frequencies), n, p=frequencies)
    predicted = np.where(rng.random(n) < share, truth, (truth + 1) % len(frequencies))
    return truth, np.eye(len(frequencies))[predicted]


def draw_numbers(kind: str, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw numbers around 100, and predictions with errors of a distribution."""
    truth = rng.normal(100, 20, (n, 1))
    errors = {
        "normal": partial(rng.normal, 0, 1),
        "lognormal": partial(rng.lognormal, 0, 1),
        "t, 3 degrees": partial(rng.standard_t, 3),
    }[kind]
    return truth, truth + errors(size=(n, 1))


def draw_sets(
    distance: float, frequencies: list[float], rng: np.random.Generator, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw sets of labels, and scores: normal, `distance` standard deviations apart."""
    truth = (rng.random((n, len(frequencies))) < frequencies).astype(float)
    scores = distance * (truth - 0.5) + rng.normal(size=truth.shape)
    return truth, 1 / (1 + np.exp(-scores))


def draw_windows(
    series: int, correlation: float, kind: str, rng: np.random.Generator, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the next values of windows that start one step apart, series by series.

    Errors of consecutive steps are correlated, and windows of a series share most of their steps.
    """
    count = max(n // series, 1)
    shape = min(series, n), count + HORIZON - 1
    errors = rng.standard_t(3, shape) if kind == "t, 3 degrees" else rng.normal(size=shape)
    for step in range(1, shape[1]):
        fresh = np.sqrt(1 - correlation**2) * errors[:, step]
        errors[:, step] = correlation * errors[:, step - 1] + fresh
    windows = np.lib.stride_tricks.sliding_window_view(errors, HORIZON, axis=1)
    changes = windows.reshape(-1, HORIZON)
    truth = np.full_like(changes, 10.0)
    return truth, truth + changes


def find_true_value(sample: Sample, rng: np.random.Generator) -> float:
    """Return the metric of a sample so large that its error does not matter."""
    truth, outputs = sample(rng, TRUE_N)
    if problem.PROBLEM != "multilabel":
        return float(metrics.score(truth, outputs, head, limits)["value"])
    metric = metrics.METRICS[limits.metric]  # without the bound, which draws once per example
    return float(metric(truth, outputs, np.ones((1, TRUE_N))).mean())


EVEN, RARE = [0.25] * 4, [0.7, 0.2, 0.1]
POPULATIONS: dict[str, list[tuple[str, str, Sample]]] = {
    "classification": [
        ("accuracy", "80 % right", partial(draw_labels, 0.8, EVEN)),
        ("accuracy", "95 % right", partial(draw_labels, 0.95, EVEN)),
        ("accuracy", "99 % right", partial(draw_labels, 0.99, EVEN)),
        ("macro_f1", "90 % right, rare labels", partial(draw_labels, 0.9, RARE)),
        ("macro_recall", "90 % right, rare labels", partial(draw_labels, 0.9, RARE)),
    ],
    "multilabel": [
        (metric, f"{labels} labels, {model} model", partial(draw_sets, distance, frequencies))
        for metric in ("macro_f1", "mean_ap")
        for model, distance in (("good", 3), ("weak", 0.5))
        for labels, frequencies in (("frequent", [0.5, 0.3]), ("rare", [0.3, 0.05]))
    ],
    "regression": [
        (metric, f"{kind} errors", partial(draw_numbers, kind))
        for metric in ("mae", "wape", "mape", "pinball")
        for kind in ("normal", "lognormal", "t, 3 degrees")
    ],
    "forecast": [
        (
            "mae",
            f"{series} series, {kind} errors, autocorrelation {correlation:g}",
            partial(draw_windows, series, correlation, kind),
        )
        for series in (1, 8)
        for correlation in (0, 0.8)
        for kind in ("normal", "t, 3 degrees")
    ],
}
HEADS: dict[str, Callable[[int], dict[str, Any]]] = {  # of answers with this width
    "classification": lambda width: {"labels": [*"abcd"][:width]},
    "multilabel": lambda width: {"labels": [*"abcd"][:width]},
    "regression": lambda width: {},
    "forecast": lambda width: {"horizon": width},
}

for metric, population, sample in POPULATIONS[problem.PROBLEM]:
    rng = np.random.default_rng(1)
    limits = SimpleNamespace(metric=metric, confidence=confidence)
    width = sample(rng, 1)[1].shape[1]
    head = answer.Head(**HEADS[problem.PROBLEM](width))
    true = find_true_value(sample, rng)
    for n in (30, 100, 400):
        bounds = np.array(
            [metrics.score(*sample(rng, n), head, limits)[metrics.BOUND] for _ in range(samples)]
        )
        holds = metrics.SIGN * bounds <= metrics.SIGN * true
        print(json.dumps([metric, population, n, float(holds.mean())]), flush=True)
