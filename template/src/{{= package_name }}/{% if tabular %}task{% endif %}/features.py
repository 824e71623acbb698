"""One row to what the model sees: training, calibration, server and device all call these."""

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
from pydantic import ValidationError

from ..refusal import SHOWN, Refusal
from ..schema import load_schema
from .columns import Column, columns_of, row_of

MAX_PAYLOAD_BYTES = 100_000
CONTENT_TYPES = {"application/json": ".json"}
FEATURES_VERSION = 1  # raise it when `features` changes what it returns

Raw = Mapping[str, Any]  # float or str of each column of `schema.yaml`, in that order


def decode(payload: bytes) -> Raw:
    """Read a JSON object that has every column of `schema.yaml`, and no other.

    Raises:
        Refusal: it is no such object, or a value is of another kind, unknown or out of range.
    """
    schema = load_schema()
    try:
        row: Raw = row_of(schema).validate_json(payload)
    except ValidationError as error:
        raise _refusal(error, columns_of(schema)) from None
    return row


def _refusal(error: ValidationError, columns: Mapping[str, Column]) -> Refusal:
    """Name the first wrong column; a misspelled one before the one that is then missing."""
    errors = error.errors(include_url=False)
    first = min(errors, key=lambda e: e["type"] != "extra_forbidden")
    field = str(first["loc"][0])[:SHOWN] if first["loc"] else "payload"
    value = None if first["type"] == "missing" else first["input"]
    if first["type"] == "extra_forbidden":
        close = get_close_matches(field, columns, n=1)
        rule = f"did you mean {close[0]}?" if close else "no such column in schema.yaml"
        return Refusal(field, value, rule, (close or list(columns))[0])
    usual = {name: c.centre if c.kind == "number" else c.values[0] for name, c in columns.items()}
    return Refusal(field, value, first["msg"].lower(), usual.get(field, usual))


def features(row: Raw) -> np.ndarray:
    """Return float32 (width,): numbers in spreads around their centre, categories one-hot.

    The inverse hyperbolic sine is linear near the centre and a logarithm in the tails.
    """
    x: list[float] = []
    for name, column in columns_of(load_schema()).items():
        if column.kind == "number":
            x.append(math.asinh((row[name] - column.centre) / column.spread))
        else:
            x.extend(float(row[name] == value) for value in column.values)
    return np.array(x, dtype=np.float32)


def describe(row: Raw) -> dict[str, float]:
    """Return the facts that the drift monitor follows: a category is its place in the list."""
    columns = columns_of(load_schema())
    return {
        name: value if columns[name].kind == "number" else float(columns[name].values.index(value))
        for name, value in row.items()
    }
