"""From a window to the input of the model, with the same code in training and production."""

from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import ValidationError
from pydantic_core import SchemaValidator, core_schema

from ..refusal import SHOWN, Refusal, parse_json
from ..schema import Schema, load_schema

MAX_PAYLOAD_BYTES = 100_000
CONTENT_TYPES = {"application/json": ".json"}
FEATURES_VERSION = 1  # increase it when you change `features`

Raw = dict[str, Any]  # {"history": float values, oldest first}


def decode(payload: bytes) -> Raw:
    """Read a JSON object with the `window` latest values of a series, oldest first.

    Raises:
        Refusal: it is not such an object, or a value is outside the range in `schema.yaml`.
    """
    schema = load_schema()
    try:
        raw: Raw = _validator(schema).validate_json(payload)
    except ValidationError as error:
        raise _refusal(error, schema) from None
    if payload.count(b":") != 1:
        parse_json(payload)
    return raw


@lru_cache(maxsize=1)
def _validator(schema: Schema) -> SchemaValidator:
    known = schema.values
    number = core_schema.float_schema(ge=known.min, le=known.max, allow_inf_nan=False, strict=True)
    history = core_schema.list_schema(number, min_length=schema.window, max_length=schema.window)
    fields = {"history": core_schema.typed_dict_field(history)}
    return SchemaValidator(core_schema.typed_dict_schema(fields, extra_behavior="forbid"))


def _refusal(error: ValidationError, schema: Schema) -> Refusal:
    """Describe the first error; unknown fields first, they explain missing ones."""
    first = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    field, *places = [str(place)[:SHOWN] for place in first["loc"]] or ["payload"]
    value = None if first["type"] == "missing" else first["input"]
    rule = first["msg"].lower()
    if places:
        rule = f"value {int(places[0]) + 1} of {schema.window}: {rule}"
    elif first["type"] in ("too_short", "too_long"):
        rule = f"the {schema.window} latest values, oldest first"
        value = f"{first['ctx']['actual_length']} values"
    return Refusal(field, value, rule, {"history": [schema.values.centre, "..."]})


def features(raw: Raw) -> np.ndarray:
    """Return float32 (window,): the values, standardised like the answers."""
    known = load_schema().values
    x = (np.array(raw["history"], dtype=np.float64) - known.centre) / known.spread
    return x.astype(np.float32)


def describe(raw: Raw) -> dict[str, float]:
    """Return the facts that drift monitoring watches, in standard deviations of the window.

    A series may grow: its level is no sign of other data, and the model does not see it.
    """
    history, season = np.array(raw["history"]), load_schema().season
    shape = (history - history.mean()) / (history.std() or 1.0)
    return {
        "latest": float(shape[-1]),
        "step": float(shape[-1] - shape[-2]),
        "change": float(shape[-season:].mean() - shape[:season].mean()),
    }
