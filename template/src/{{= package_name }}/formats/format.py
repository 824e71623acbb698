"""What a format is: `export(folder)` writes it, `load(folder)` returns what runs it.

Converters are imported where they are used, so that a process which only runs a file is measured
without them.
"""

from collections.abc import Callable

import numpy as np

Run = Callable[[np.ndarray], np.ndarray]  # one example, float32 (1, ...), to logits (1, labels)


class NotRun(RuntimeError):
    """The file has the right structure, but nothing on this system runs it."""
