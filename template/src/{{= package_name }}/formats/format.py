"""The interface of a format: `export(folder)` writes the model, `load(folder)` returns a function.

Formats import their converter inside these functions: its memory must not count where only the
file is run.
"""

from collections.abc import Callable

import numpy as np

Run = Callable[[np.ndarray], np.ndarray]  # one example, float32 (1, ...), to raw outputs (1, width)


class NotRunnableError(RuntimeError):
    """The file has the right structure, but this system cannot run it."""
