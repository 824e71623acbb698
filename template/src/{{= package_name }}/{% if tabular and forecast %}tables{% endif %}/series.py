"""Series in a table: one row per time, and a column that names the series if there are several."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..refusal import Refusal
from ..schema import Schema
from ..splitting.divide import parse_times
from .table import Table
from .values import read_keys, read_numbers, read_texts

# Months have 28 to 31 days, and clocks change twice a year: such steps are no gaps.
MAX_STEP = 1.5  # times the median step of the series
WHOLE = "the table"  # the name of its only series


class Series(NamedTuple):
    """The values of one series, oldest first."""

    name: str
    texts: list[str]  # its times, as the table has them
    times: np.ndarray  # the same as numbers
    values: np.ndarray  # float64
    slices: list[str]


def read_series(table: Table, schema: Schema, needed: int = 0) -> list[Series]:
    """Return all series of a table, in the order of their names.

    Each must have `needed` rows: by default, enough for a window and its answer.

    Raises:
        Refusal: a column is missing, a value is not a number, or the times of a series are not in
            order, have a gap, or are too few.
    """
    if schema.split.by != "time" or not schema.split.column:
        rule = "by: time, with the column of times: other splits would train on the future"
        raise Refusal("split", schema.split.by, rule, "{by: time, column: day}")
    texts = read_keys(table, schema.split.column)
    times = np.array(parse_times(texts))
    values = np.array(read_numbers(table, schema.label_column))
    names = [WHOLE] * len(texts)
    if schema.series_column:
        names = read_keys(table, schema.series_column, "series_column in schema.yaml")
    slices = ["all"] * len(texts)
    if schema.slice_column:
        slices = read_texts(table, schema.slice_column, "slice_column in schema.yaml")
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows_of.setdefault(name, []).append(row)
    found = []
    for name, rows in sorted(rows_of.items()):
        _check_times(name, rows, texts, times, schema, needed or schema.window + schema.horizon)
        of_series = [texts[row] for row in rows], times[rows], values[rows]
        found.append(Series(name, *of_series, [slices[row] for row in rows]))
    return found


def _check_times(
    name: str,
    rows: list[int],
    texts: Sequence[str],
    times: np.ndarray,
    schema: Schema,
    needed: int,
) -> None:
    column = schema.split.column
    if len(rows) < needed:
        rule = (
            f"at least {needed} rows in each series, for window {schema.window} and horizon"
            f" {schema.horizon}, but {name} (from row {rows[0] + 1}) has {len(rows)}; shorten them"
            " in schema.yaml, or drop the series"
        )
        raise Refusal(schema.series_column or column, name, rule, needed)
    steps = np.diff(times[rows])
    usual = float(np.median(steps))
    for wrong, rule in (
        (
            steps == 0,
            f"each time once in {name}; add the values up, or name the series in series_column",
        ),
        (steps < 0, f"times in order, oldest first, in {name}; sort the rows"),
        (steps > MAX_STEP * usual, f"no gap in {name}; fill it, or number the steps in a column"),
    ):
        if wrong.any():
            at = int(np.argmax(wrong))
            before, here = rows[at], rows[at + 1]
            place = f"row {here + 1} follows {texts[before]!r} in row {before + 1}"
            raise Refusal(column, texts[here], f"{rule} ({place})", texts[rows[0]])
