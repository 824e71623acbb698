"""Variants that `compress` tries besides those of `quantize.py`."""

from collections.abc import Callable
from pathlib import Path


def more_variants() -> dict[str, Callable[[Path], None]]:
    """Return none: all variants of a given model are made from its file."""
    return {}
