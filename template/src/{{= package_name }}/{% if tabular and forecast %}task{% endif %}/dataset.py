"""Read windows of series from a CSV or Parquet file.

In `schema.yaml`, `label_column` is the value to forecast, `split` names the column of times,
`series_column` the series (empty: the table is one series), and `slice_column` divides them into
slices with their own quality gates (empty: one slice). `window`, `horizon` and `season` are yours;
`ingest` writes `values`. Ids are the series and the time of the latest value that a window has.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..examples import Example
from ..problem.answer import Answer, write
from ..problem.keys import Values
from ..refusal import Refusal
from ..schema import Schema, load_schema
from ..splitting.divide import divide
from ..tables.series import read_series
from ..tables.table import read_table
from ..tables.windows import Window, cut_windows


def load_examples(source: Path) -> Iterator[Example]:
    """Yield all windows of a table.

    Raises:
        Refusal: the file cannot be read, or a series has a gap, is too short or not in order.
    """
    schema = load_schema()
    for window in cut_windows(read_series(read_table(source, schema), schema), schema):
        yield to_example(window)


def to_example(window: Window) -> Example:
    """Return a window as a client sends it, with its answer."""
    payload = json.dumps({"history": window.history}).encode()
    answer = write(Answer(values=window.answer))
    return Example(window.id, payload, answer, window.slice, window.block)


def infer_schema(source: Path) -> Schema:
    """Keep what `schema.yaml` says about the file, and describe the values.

    Raises:
        Refusal: the file cannot be read, or a column cannot be used.
    """
    schema = load_schema()
    series = read_series(read_table(source, schema), schema)
    windows = list(cut_windows(series, schema))
    splits = divide([w.block for w in windows], [w.id for w in windows], schema.split)
    training = [w for w, split in zip(windows, splits, strict=True) if split == "train"]
    update = {
        "source": str(source),
        "columns": {},
        "values": describe_values(windows, training or windows, schema),
        "sha256": "",
    }
    return schema.model_copy(update=update)


def describe_values(windows: list[Window], training: list[Window], schema: Schema) -> Values:
    """Return the range of all windows, and the scale of those for training."""
    everything, rows = (
        np.array([window.history + window.answer for window in some])
        for some in (windows, training)
    )
    low, high, spread = everything.min(), everything.max(), rows.std()
    if not spread > 0:
        raise Refusal(schema.label_column, float(low), "more than one value", [12.5, 13.0])
    width = high - low
    digits = 2 - math.floor(math.log10(spread))
    season_before = rows[:, schema.window - schema.season : rows.shape[1] - schema.season]
    naive_error = float(np.abs(rows[:, schema.window :] - season_before).mean())
    return Values(
        centre=round(float(rows.mean()), digits),
        spread=round(float(spread), digits),
        min=round(float(low - width), digits),
        max=round(float(high + width), digits),
        naive_error=round(naive_error, digits) or 10.0**-digits,
    )
