"""Read labelled rows from a CSV or Parquet file.

In `schema.yaml`, `label_column` is the label, and `slice_column` divides rows into slices with
their own quality gates (empty: one slice); it stays an input. Columns that you delete from
`schema.yaml` are not read. Ids are row numbers: appending rows keeps the split of all others.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ..examples import Example, split_of
from ..refusal import Refusal
from ..schema import Schema, load_schema
from .columns import Column, columns_of

MAX_VALUES = 50  # distinct ones of a label, slice or category
MIN_ROWS_PER_VALUE = 4  # on average; text with fewer is an id
MAX_NUMBER = 1e30  # larger numbers could overflow float32
IQR_OF_NORMAL = 1.349  # interquartile range / standard deviation
TAKEN = {"label", "confidence", "entropy"}  # names of predicted values in drift monitoring


def load_examples(source: Path) -> Iterator[Example]:
    """Yield all rows with the columns in `schema.yaml`.

    Raises:
        Refusal: the file cannot be read, or a column is missing or has missing values.
    """
    schema = load_schema()
    table = _read(source)
    labels, slices = _labels(table, schema), _slices(table, schema)
    columns = [_values(table, name, column.kind) for name, column in columns_of(schema).items()]
    for i, values in enumerate(zip(*columns, strict=True)):
        payload = json.dumps(dict(zip(schema.columns, values, strict=True)))
        yield Example(_id(i), payload.encode(), labels[i], slices[i])


def infer_schema(source: Path) -> Schema:
    """Keep label and slice column of `schema.yaml`, and infer the rest from the file.

    Raises:
        Refusal: the file cannot be read, or a column cannot be used.
    """
    schema = load_schema()
    table = _read(source)
    labels = sorted(set(_labels(table, schema)))
    if len(labels) < 2:
        raise Refusal(schema.label_column, labels, "at least two labels", ["no", "yes"])
    _slices(table, schema)
    names = [name for name in table.column_names if name != schema.label_column]
    if not names:
        raise Refusal("columns", table.column_names, "at least one besides the label", "amount_usd")
    if taken := sorted(TAKEN.intersection(names)):
        rule = "a name that no answer has; rename the column"
        raise Refusal("columns", taken[0], rule, f"{taken[0]}_in")
    columns = {name: _infer(table, name).model_dump(exclude_defaults=True) for name in names}
    return Schema(
        source=str(source),
        labels=labels,
        label_column=schema.label_column,
        slice_column=schema.slice_column,
        columns=columns,
    )


def _id(row: int) -> str:
    return f"row-{row:06}"


def _read(source: Path) -> pa.Table:
    readers = {".csv": _read_csv, ".parquet": pa.parquet.read_table}
    read = readers.get(source.suffix.lower())
    if read is None or not source.is_file():
        raise Refusal("source", str(source), "an existing .csv or .parquet file", "payments.csv")
    try:
        table = read(source)
        names = table.column_names
    except (pa.ArrowException, OSError, ValueError) as error:
        rule = f"a whole table ({str(error).splitlines()[0]})"
        raise Refusal("source", str(source), rule, "payments.csv") from None
    if len(table) == 0:
        raise Refusal("source", str(source), "a table with rows", "payments.csv")
    if "" in names or len(set(names)) < len(names):
        rule = "column names must be unique and not empty (with pandas, write index=False)"
        raise Refusal("columns", names, rule, ["amount_usd", "label"])
    return table


def _read_csv(source: Path) -> pa.Table:
    """Infer types from the whole file; by default, pyarrow reads only the first megabyte."""
    whole = pa.csv.ReadOptions(block_size=min(source.stat().st_size + 1, 2**31 - 1))
    gaps = pa.csv.ConvertOptions(strings_can_be_null=True)
    return pa.csv.read_csv(source, read_options=whole, convert_options=gaps)


def _labels(table: pa.Table, schema: Schema) -> list[str]:
    return _values(table, schema.label_column, "category", "label_column in schema.yaml")


def _slices(table: pa.Table, schema: Schema) -> list[str]:
    if not schema.slice_column:
        return ["all"] * len(table)
    return _values(table, schema.slice_column, "category", "slice_column in schema.yaml")


def _values(table: pa.Table, name: str, kind: str, key: str = "columns in schema.yaml") -> list:
    """Return a column as float or str; reject missing values, and text with too many values."""
    if name not in table.column_names:
        rule = f"one of the columns of the file: {', '.join(table.column_names)}"
        raise Refusal(key, name, rule, table.column_names[-1])
    try:
        cast = table[name].cast(pa.float64() if kind == "number" else pa.string())
    except pa.ArrowException:
        kind_of_values = str(table[name].type)
        rule = "numbers or UTF-8 text; convert or drop the column"
        raise Refusal(name, kind_of_values, rule, 42.0) from None
    values: list[Any] = cast.to_pylist()
    if gaps := sum(map(_is_gap, values)):
        rule = "every row needs a finite value; fill the gaps, or drop the rows or the column"
        raise Refusal(name, f"{gaps} of {len(values)} values missing or infinite", rule, 0)
    many = min(MAX_VALUES, len(values) / MIN_ROWS_PER_VALUE)
    if kind == "category" and (distinct := len(set(values))) > many:
        rule = f"at most {many:.0f} values; group them, or drop ids, dates and free text"
        raise Refusal(name, f"{distinct} values in {len(values)} rows", rule, ["food", "travel"])
    return values


def _is_gap(value: float | str | None) -> bool:
    if isinstance(value, float):
        return not abs(value) <= MAX_NUMBER  # written this way, NaN is a gap
    return value in (None, "nan", "inf", "-inf")  # floats as text


def _infer(table: pa.Table, name: str) -> Column:
    """Describe a column. Only training rows determine how it is scaled."""
    numeric = pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean
    kind = "number" if any(is_(table[name].type) for is_ in numeric) else "category"
    values = _values(table, name, kind)
    if len(distinct := sorted(set(values))) < 2:
        raise Refusal(name, distinct[0], "more than one value; drop the column", [0, 1])
    if kind == "category":
        return Column(kind="category", values=distinct)
    if (np.diff(values) == 1).all():
        raise Refusal(name, values[:3], "not a row number; drop the column", 42.0)
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
