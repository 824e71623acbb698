"""Read labelled rows from a CSV or Parquet file.

In `schema.yaml`, `label_column` is the label, and `slice_column` divides rows into slices with
their own quality gates (empty: one slice); it stays an input. Columns that you delete from
`schema.yaml`, and those in `ignored_columns`, are not read. `ingest` keeps the `kind` that you give
to a column. Ids are row numbers: appending rows keeps the split of all others.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..examples import Example, split_of
from ..refusal import Refusal
from ..schema import Schema, is_signal, load_schema
from ..tables.table import Table, read_table
from ..tables.values import infer_kind, read_numbers, read_texts, reject_identifiers
from .columns import Column, columns_of

IQR_OF_NORMAL = 1.349  # interquartile range / standard deviation


def load_examples(source: Path) -> Iterator[Example]:
    """Yield all rows with the columns in `schema.yaml`.

    Raises:
        Refusal: the file cannot be read, or a column is missing or has missing values.
    """
    schema = load_schema()
    table = read_table(source, schema)
    labels, slices = _labels(table, schema), _slices(table, schema)
    columns = [
        read_numbers(table, name) if column.kind == "number" else read_texts(table, name)
        for name, column in columns_of(schema).items()
    ]
    for i, values in enumerate(zip(*columns, strict=True)):
        payload = json.dumps(dict(zip(schema.columns, values, strict=True)))
        yield Example(_id(i), payload.encode(), labels[i], slices[i])


def infer_schema(source: Path) -> Schema:
    """Keep what `schema.yaml` says about the file, and infer the rest.

    Raises:
        Refusal: the file cannot be read, or a column cannot be used.
    """
    schema = load_schema()
    table = read_table(source, schema)
    labels = sorted(set(_labels(table, schema)))
    if len(labels) < 2:
        raise Refusal(schema.label_column, labels, "at least two labels", ["no", "yes"])
    _slices(table, schema)
    names = [name for name in table.cells.column_names if name != schema.label_column]
    if not names:
        rule = "at least one besides the label"
        raise Refusal("columns", table.cells.column_names, rule, "amount_usd")
    if taken := sorted(filter(is_signal, names)):
        rule = "not a name that the drift monitor uses; rename the column"
        raise Refusal("columns", taken[0], rule, f"{taken[0]}_in")
    columns = {name: _infer(table, name, schema) for name in names}
    found = {name: column.model_dump(exclude_defaults=True) for name, column in columns.items()}
    update = {"source": str(source), "labels": labels, "columns": found, "sha256": ""}
    return schema.model_copy(update=update)


def _id(row: int) -> str:
    return f"row-{row:06}"


def _labels(table: Table, schema: Schema) -> list[str]:
    return read_texts(table, schema.label_column, "label_column in schema.yaml")


def _slices(table: Table, schema: Schema) -> list[str]:
    if not schema.slice_column:
        return ["all"] * len(table.cells)
    return read_texts(table, schema.slice_column, "slice_column in schema.yaml")


def _chosen_kind(name: str, schema: Schema) -> str:
    """Return the kind that the user gave to a column. The sample's columns are not the user's."""
    column = schema.columns.get(name, {})
    is_chosen = schema.source != "sample" or column.keys() == {"kind"}
    return str(column.get("kind", "")) if is_chosen else ""


def _infer(table: Table, name: str, schema: Schema) -> Column:
    """Describe a column. Only training rows determine how it is scaled."""
    chosen = _chosen_kind(name, schema)
    if infer_kind(table, name, chosen) == "category":
        categories = sorted(set(read_texts(table, name)))
        _reject_constants(name, categories)
        return Column(kind="category", values=categories)
    values = read_numbers(table, name)
    distinct = sorted(set(values))
    _reject_constants(name, distinct)
    if not chosen:
        reject_identifiers(name, values)
    width = distinct[-1] - distinct[0]
    training = [value for i, value in enumerate(values) if split_of(_id(i)) == "train"]
    quarter, centre, three_quarters = np.quantile(training, [0.25, 0.5, 0.75])
    spreads = (three_quarters - quarter) / IQR_OF_NORMAL, np.std(training), width
    spread = next(spread for spread in spreads if spread > 1e-9 * width)
    digits = 2 - math.floor(math.log10(spread))
    return Column(
        kind="number",
        centre=round(float(centre), digits),
        spread=round(float(spread), digits),
        min=round(distinct[0] - width, digits),
        max=round(distinct[-1] + width, digits),
    )


def _reject_constants(name: str, distinct: Sequence[object]) -> None:
    if len(distinct) < 2:
        raise Refusal(name, distinct[0], "more than one value; drop the column", [0, 1])
