"""`schema.yaml`: labels, columns and source of the data. `ingest` writes it; refine it by hand."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel

from .problem import answer
from .problem.keys import ProblemSchema
from .scope import read_yaml
from .splitting.rules import Split

SCHEMA = Path("schema.yaml")
HEADER = "# The schema of the data. `ingest PATH` writes this file; refine it by hand.\n"
# Features are about 1 in size. Different examples differ by far more than 0.001; the same example
# in another file format differs by far less.
DECIMALS = 3
# Cells of a CSV file that count as missing, besides empty ones; the defaults of pyarrow and pandas.
MISSING = ["NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "<NA>", "NULL", "null"]
MISSING += ["NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"]
# Signals of drift monitoring that are not inputs: those of answers, and of the embedding, with this
# prefix.
is_answer_signal = answer.is_signal
EMBEDDING_SIGNAL = "embedding_"


class Origin(BaseModel, frozen=True, extra="forbid"):
    """Where the data come from, and how they are divided."""

    source: str
    sha256: str = ""  # of the ingested examples: the source may change under the same name
    feedback_sha256: str = ""  # of the labelled requests that `feedback` added
    split: Split = Split()


class Schema(ProblemSchema, Origin, frozen=True, extra="forbid"):
    """Source, keys of the type of answer, such as labels, and, for tables, columns of the data."""

    label_column: str = ""
    slice_column: str = ""
    columns: dict[str, dict[str, Any]] = {}
    ignored_columns: list[str] = []
    missing: list[str] = MISSING

    def __hash__(self) -> int:
        return id(self)  # lets functions cache what they derive from a schema


_in_use: list[Schema] = []


def fingerprint(x: np.ndarray) -> bytes:
    """Hash the features, rounded: copies in another file format get the same hash."""
    return hashlib.sha256(np.round(x, DECIMALS).tobytes()).digest()


def is_signal(name: str) -> bool:
    """Whether drift monitoring uses this name for something other than an input."""
    return is_answer_signal(name) or name.startswith(EMBEDDING_SIGNAL)


def load_schema() -> Schema:
    """Return the schema in use: `schema.yaml`, read once, or the one set by `use_schema`."""
    if not _in_use:
        _in_use.append(read_yaml(SCHEMA, Schema))
    return _in_use[-1]


def use_schema(schema: Schema) -> None:
    """Replace the schema in use: `ingest` validates new data before it writes their schema."""
    _in_use[:] = [schema]


def write_schema(schema: Schema) -> None:
    """Replace `schema.yaml` atomically."""
    text = yaml.safe_dump(schema.model_dump(exclude_defaults=True), sort_keys=False)
    draft = SCHEMA.with_suffix(".yaml.part")
    draft.write_text(HEADER + text)
    draft.replace(SCHEMA)
