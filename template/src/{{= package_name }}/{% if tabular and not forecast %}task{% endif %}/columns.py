"""The columns of `schema.yaml`, and a validator for rows in training and production."""

from functools import lru_cache
from typing import Literal

from pydantic import BaseModel, Field, TypeAdapter
from pydantic_core import SchemaValidator, core_schema

from ..schema import Schema


class Column(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A column: a number between two limits, or a category with a list of values."""

    kind: Literal["number", "category"]
    centre: float = 0.0
    spread: float = Field(default=1.0, gt=0)
    min: float = -1e12
    max: float = 1e12
    values: list[str] = []


@lru_cache(maxsize=1)
def columns_of(schema: Schema) -> dict[str, Column]:
    """Return the columns by name, in the order of the file.

    Raises:
        ValueError: the definition of a column is invalid.
    """
    return TypeAdapter(dict[str, Column]).validate_python(schema.columns)


@lru_cache(maxsize=1)
def row_of(schema: Schema) -> SchemaValidator:
    """Return a validator for rows. It returns a dict: columns can have any name."""
    fields = {name: _field(column) for name, column in columns_of(schema).items()}
    return SchemaValidator(core_schema.typed_dict_schema(fields, extra_behavior="forbid"))


def _field(column: Column) -> core_schema.TypedDictField:
    if column.kind == "category":  # without values until `ingest PATH` finds them
        return core_schema.typed_dict_field(core_schema.literal_schema(column.values or [""]))
    return core_schema.typed_dict_field(
        core_schema.float_schema(ge=column.min, le=column.max, allow_inf_nan=False, strict=True)
    )
