"""Read rows and their answers from a CSV or Parquet file.

In `schema.yaml`, `label_column` is the answer (see `tables/answers.py`), and `slice_column` divides
rows into slices with their own quality gates (empty: one slice); it stays an input. Columns that
you delete from `schema.yaml`, and those in `ignored_columns`, are not read. `ingest` keeps the
`kind` that you give to a column. A column that `split` names is not an input. Ids are row numbers.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..examples import Example
from ..problem.data import check_column, strata
from ..refusal import Refusal
from ..schema import Schema, is_signal, load_schema
from ..splitting.divide import choose_seed, divide
from ..splitting.keys import key_of
from ..tables.answers import list_columns, list_labels, read_answers
from ..tables.table import Table, read_table
from ..tables.values import (
    infer_kind,
    read_keys,
    read_numbers,
    read_texts,
    reject_identifiers,
)
from .columns import Column, columns_of

IQR_OF_NORMAL = 1.349  # interquartile range / standard deviation


def load_examples(source: Path) -> Iterator[Example]:
    """Yield all rows with the columns in `schema.yaml`.

    Raises:
        Refusal: the file cannot be read, or a column is missing or has missing values.
    """
    schema = load_schema()
    kinds = {name: column.kind for name, column in columns_of(schema).items()}
    yield from _rows(read_table(source, schema), kinds, schema)


def infer_schema(source: Path) -> Schema:
    """Keep what `schema.yaml` says about the file, and infer the rest.

    Raises:
        Refusal: the file cannot be read, or a column cannot be used.
    """
    schema = load_schema()
    table = read_table(source, schema)
    labels = list_labels(set(read_answers(table, schema)), schema)
    check_column(schema.label_column or "labels", labels, schema.labels)
    not_inputs = (*list_columns(schema), schema.split.column)
    names = [name for name in table.cells.column_names if name not in not_inputs]
    if not names:
        rule = "at least one besides the answer"
        raise Refusal("columns", table.cells.column_names, rule, "amount_usd")
    if taken := sorted(filter(is_signal, names)):
        rule = "not a name that the drift monitor uses; rename the column"
        raise Refusal("columns", taken[0], rule, f"{taken[0]}_in")
    kinds = {name: infer_kind(table, name, _chosen_kind(name, schema)) for name in names}
    found_rows = _rows(table, kinds, schema)
    rows = [(row.id, row.label, key_of(row, schema.split)) for row in found_rows]
    ids, row_labels, keys = map(list, zip(*rows, strict=True))
    split = choose_seed(keys, ids, strata(row_labels), schema.split)
    is_training = np.array(divide(keys, ids, split)) == "train"
    columns = {
        name: _infer(table, name, kind, is_training, is_chosen=bool(_chosen_kind(name, schema)))
        for name, kind in kinds.items()
    }
    found = {name: column.model_dump(exclude_defaults=True) for name, column in columns.items()}
    update = {"source": str(source), "labels": labels, "columns": found, "sha256": ""}
    return schema.model_copy(update=update)


def _rows(table: Table, kinds: Mapping[str, str], schema: Schema) -> Iterator[Example]:
    """Yield the rows of a table, with columns of these kinds as inputs."""
    answers, slices, groups = (f(table, schema) for f in (read_answers, _slices, _groups))
    columns = [
        read_numbers(table, name) if kind == "number" else read_texts(table, name)
        for name, kind in kinds.items()
    ]
    for i, values in enumerate(zip(*columns, strict=True)):
        payload = json.dumps(dict(zip(kinds, values, strict=True)))
        yield Example(f"row-{i:06}", payload.encode(), answers[i], slices[i], groups[i])


def _slices(table: Table, schema: Schema) -> list[str]:
    if not schema.slice_column:
        return ["all"] * len(table.cells)
    return read_texts(table, schema.slice_column, "slice_column in schema.yaml")


def _groups(table: Table, schema: Schema) -> list[str]:
    if not schema.split.place:
        return [""] * len(table.cells)
    if not schema.split.column:
        rule = "a column, because the examples are rows of a table"
        raise Refusal("split", schema.split.place, rule, "{by: group, column: customer}")
    return read_keys(table, schema.split.column)


def _chosen_kind(name: str, schema: Schema) -> str:
    """Return the kind that the user gave to a column. The sample's columns are not the user's."""
    column = schema.columns.get(name, {})
    is_chosen = schema.source != "sample" or column.keys() == {"kind"}
    return str(column.get("kind", "")) if is_chosen else ""


def _infer(
    table: Table, name: str, kind: str, is_training: np.ndarray, *, is_chosen: bool
) -> Column:
    """Describe a column. Only training rows determine how it is scaled."""
    if kind == "category":
        categories = sorted(set(read_texts(table, name)))
        _reject_constants(name, categories)
        return Column(kind="category", values=categories)
    values = read_numbers(table, name)
    distinct = sorted(set(values))
    _reject_constants(name, distinct)
    if not is_chosen:
        reject_identifiers(name, values)
    width = distinct[-1] - distinct[0]
    training = np.array(values)[is_training]
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
