"""From a row to the input of the model, with the same code in training and production."""

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
from pydantic import ValidationError

from ..refusal import SHOWN, Refusal, parse_json
from ..schema import load_schema
from .columns import Column, columns_of, row_of

MAX_PAYLOAD_BYTES = 100_000
CONTENT_TYPES = {"application/json": ".json"}
FEATURES_VERSION = 1  # increase it when you change `features`

Raw = Mapping[str, Any]  # values, float or str, by column, in the order of `schema.yaml`


def decode(payload: bytes) -> Raw:
    """Read a JSON object with exactly the columns of `schema.yaml`.

    Raises:
        Refusal: it is not a JSON object, a column is missing, unknown or repeated, or a value
            is invalid.
    """
    schema = load_schema()
    try:
        row: Raw = row_of(schema).validate_json(payload)
    except ValidationError as error:
        raise _refusal(error, columns_of(schema)) from None
    if payload.count(b":") != len(row):  # one per name, and others in names or values
        parse_json(payload)
    return row


def _refusal(error: ValidationError, columns: Mapping[str, Column]) -> Refusal:
    """Describe the first error; unknown columns first, they explain missing ones."""
    errors = error.errors(include_url=False)
    first = min(errors, key=lambda e: e["type"] != "extra_forbidden")
    field = str(first["loc"][0])[:SHOWN] if first["loc"] else "payload"
    value = None if first["type"] == "missing" else first["input"]
    if first["type"] == "extra_forbidden":
        close = get_close_matches(field, columns, n=1)
        rule = f"did you mean {close[0]}?" if close else "not a column in schema.yaml"
        return Refusal(field, value, rule, (close or list(columns))[0])
    valid = {name: c.centre if c.kind == "number" else c.values[0] for name, c in columns.items()}
    return Refusal(field, value, first["msg"].lower(), valid.get(field, valid))


def features(row: Raw) -> np.ndarray:
    """Return float32 (width,): standardized numbers, and one-hot categories.

    The inverse hyperbolic sine is linear near the centre and logarithmic in the tails.
    """
    x: list[float] = []
    for name, column in columns_of(load_schema()).items():
        if column.kind == "number":
            x.append(math.asinh((row[name] - column.centre) / column.spread))
        else:
            x.extend(float(row[name] == value) for value in column.values)
    return np.array(x, dtype=np.float32)


def describe(row: Raw) -> dict[str, float]:
    """Return the facts that drift monitoring watches; a category is its index in the list."""
    columns = columns_of(load_schema())
    return {
        name: value if columns[name].kind == "number" else float(columns[name].values.index(value))
        for name, value in row.items()
    }
