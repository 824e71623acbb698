"""Variants that `compress` tries besides those of `quantize.py`: smaller networks, trained."""

from collections.abc import Callable
from pathlib import Path

from . import distill


def more_variants() -> dict[str, Callable[[Path], None]]:
    """Return the functions that write a student, if task/model.py has `build_student`."""
    if not distill.BUILD:
        return {}
    return {"student": distill.student, "student_int8": distill.student_int8}
