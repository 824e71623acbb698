"""What the report shows of forecasts: means over all held-out windows, by step ahead."""

from typing import Any

import numpy as np

from .answer import Head, half_widths

NOT_ZERO = 1e-12  # avoids 0 / 0


def evidence(truth: np.ndarray, outputs: np.ndarray, head: Head) -> dict[str, Any]:
    """Return what the report shows of the answers, without a value of any single example."""
    errors, half = outputs - truth, half_widths(outputs, head)
    inside = np.abs(errors) <= half
    return {
        "bias": float(errors.mean()),
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "mase": float(np.abs(errors).mean() / head.naive_error),
        "error_p90": float(np.quantile(np.abs(errors), 0.9)),
        "by_step": [
            {
                "step": step + 1,
                "truth": float(truth[:, step].mean()),
                "answer": float(outputs[:, step].mean()),
                "half_width": float(half[:, step].mean()),
                "error": float(np.abs(errors[:, step]).mean()),
                "bias": float(errors[:, step].mean()),
                "inside": float(inside[:, step].mean()),
            }
            for step in range(head.width)
        ],
        "spread_of_answers": float(outputs.std() / max(float(truth.std()), NOT_ZERO)),
    }
