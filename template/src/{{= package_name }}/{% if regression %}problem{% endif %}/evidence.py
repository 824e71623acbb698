"""What the report shows of answers that are numbers."""

from typing import Any

import numpy as np

from .answer import Head

TENTHS = 10
NOT_ZERO = 1e-12  # avoids 0 / 0


def evidence(truth: np.ndarray, outputs: np.ndarray, head: Head) -> dict[str, Any]:
    """Return what the report shows of the answers, without a value of any single example."""
    errors = (outputs - truth)[:, 0]
    values, answers = truth[:, 0], outputs[:, 0]
    spread = max(float(np.mean((values - values.mean()) ** 2)), NOT_ZERO)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, TENTHS + 1)))
    counts, _, _ = np.histogram2d(values, np.clip(answers, edges[0], edges[-1]), (edges, edges))
    return {
        "bias": float(errors.mean()),
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "r2": 1 - float(np.mean(errors**2)) / spread,
        "error_p90": float(np.quantile(np.abs(errors), 0.9)),
        "edges": edges.tolist(),
        "counts": counts.astype(int).tolist(),
        "by_truth": _by_tenth(values, errors),
        "by_answer": [
            {"answer": float(answers[rows].mean()), "truth": float(values[rows].mean())}
            for rows in np.array_split(np.argsort(answers), min(TENTHS, len(answers)))
        ],
    }


def _by_tenth(values: np.ndarray, errors: np.ndarray) -> list[dict[str, float]]:
    return [
        {
            "from": float(values[rows].min()),
            "to": float(values[rows].max()),
            "error": float(np.abs(errors[rows]).mean()),
            "bias": float(errors[rows].mean()),
        }
        for rows in np.array_split(np.argsort(values), min(TENTHS, len(values)))
    ]
