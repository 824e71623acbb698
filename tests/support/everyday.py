"""Choose the cases of a parametrised test that `make test` runs; `make test-all` runs all."""

from collections.abc import Iterable
from typing import Any

import pytest


def every_nth(n: int, cases: Iterable[Any], ids: Iterable[str] | None = None) -> list[Any]:
    """Mark all cases as long but the first of each n. A case with several arguments is a tuple."""
    found = list(cases)
    names = list(ids) if ids is not None else [None] * len(found)
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=pytest.mark.long if i % n else [],
            id=name,
        )
        for i, (case, name) in enumerate(zip(found, names, strict=True))
    ]
