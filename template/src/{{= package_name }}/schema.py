"""What the data looks like: `schema.yaml`, written by `ingest` and tightened by people."""

from functools import cached_property
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import SchemaValidator, core_schema

from .scope import read_yaml

SCHEMA = Path("schema.yaml")
HEADER = "# What the data looks like. `ingest PATH` writes this file; tighten it by hand.\n"


class Column(BaseModel):
    """One column of a table: a number between two limits, or one of a few values."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["number", "category"]
    centre: float = 0.0
    spread: float = Field(default=1.0, gt=0)
    min: float = -1e12
    max: float = 1e12
    values: list[str] = []


class Schema(BaseModel):
    """Where the data came from, its labels and, for tables, its columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    labels: list[str] = Field(min_length=2)
    label_column: str = ""
    slice_column: str = ""
    columns: dict[str, Column] = {}

    @cached_property
    def row(self) -> SchemaValidator:
        """One rule for training rows and requests; a dict, because any name may be a column's."""
        return SchemaValidator(
            core_schema.typed_dict_schema(
                {name: _field(column) for name, column in self.columns.items()},
                extra_behavior="forbid",
            )
        )


def _field(column: Column) -> core_schema.TypedDictField:
    if column.kind == "category":
        return core_schema.typed_dict_field(core_schema.literal_schema(column.values))
    return core_schema.typed_dict_field(
        core_schema.float_schema(ge=column.min, le=column.max, allow_inf_nan=False, strict=True)
    )


_in_use: list[Schema] = []


def load_schema() -> Schema:
    """Return the schema in use: the file's, read once, or the one given to `use_schema`."""
    if not _in_use:
        _in_use.append(read_yaml(SCHEMA, Schema))
    return _in_use[-1]


def use_schema(schema: Schema) -> None:
    """Let `ingest` judge new data by the schema it is about to write."""
    _in_use[:] = [schema]


def write_schema(schema: Schema) -> None:
    """Replace `schema.yaml` at once."""
    text = yaml.safe_dump(schema.model_dump(exclude_defaults=True), sort_keys=False)
    draft = SCHEMA.with_suffix(".yaml.part")
    draft.write_text(HEADER + text)
    draft.replace(SCHEMA)
