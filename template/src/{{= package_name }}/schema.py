"""What the data looks like: `schema.yaml`, written by `ingest` and tightened by people."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel, Field

from .scope import read_yaml

SCHEMA = Path("schema.yaml")
HEADER = "# The schema of the data. `ingest PATH` writes this file; tighten it by hand.\n"
# Features are about 1 in size: far below what tells two examples apart, and far above the errors
# of float32 that differ between file formats.
DECIMALS = 3


class Schema(BaseModel, frozen=True, extra="forbid"):
    """Where the data came from, its labels and, for tables, its columns."""

    source: str
    sha256: str = ""  # of what `ingest PATH` found there: new data under an old name is new data
    feedback_sha256: str = ""  # of what `feedback` added: labelled requests are new data, too
    labels: list[str] = Field(min_length=2)
    label_column: str = ""
    slice_column: str = ""
    columns: dict[str, dict[str, Any]] = {}

    def __hash__(self) -> int:
        return id(self)  # so that what is derived from the schema in use can be cached


_in_use: list[Schema] = []


def fingerprint(x: np.ndarray) -> bytes:
    """Return a hash of what the model sees: a copy in another file format is still a copy."""
    return hashlib.sha256(np.round(x, DECIMALS).tobytes()).digest()


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
