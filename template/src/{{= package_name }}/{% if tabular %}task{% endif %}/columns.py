"""The columns of `schema.yaml`, and the one rule that training rows and requests both meet."""

from functools import lru_cache
from typing import Literal

from pydantic import BaseModel, Field, TypeAdapter
from pydantic_core import SchemaValidator, core_schema

from ..schema import Schema


class Column(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """One column of a table: a number between two limits, or one of a few values."""

    kind: Literal["number", "category"]
    centre: float = 0.0
    spread: float = Field(default=1.0, gt=0)
    min: float = -1e12
    max: float = 1e12
    values: list[str] = []


@lru_cache(maxsize=1)
def columns_of(schema: Schema) -> dict[str, Column]:
    """Return each column by its name, in the order of the file.

    Raises:
        ValueError: a column of the file is none; pydantic names the key.
    """
    return TypeAdapter(dict[str, Column]).validate_python(schema.columns)


@lru_cache(maxsize=1)
def row_of(schema: Schema) -> SchemaValidator:
    """Return the check of one row; it gives a plain dict, because a column may have any name."""
    fields = {name: _field(column) for name, column in columns_of(schema).items()}
    return SchemaValidator(core_schema.typed_dict_schema(fields, extra_behavior="forbid"))


def _field(column: Column) -> core_schema.TypedDictField:
    if column.kind == "category":
        return core_schema.typed_dict_field(core_schema.literal_schema(column.values))
    return core_schema.typed_dict_field(
        core_schema.float_schema(ge=column.min, le=column.max, allow_inf_nan=False, strict=True)
    )
