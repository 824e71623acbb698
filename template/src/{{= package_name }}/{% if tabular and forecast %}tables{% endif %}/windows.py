"""Windows: some values of a series as the input, and those that follow as the answer.

Time is divided into blocks, the same for all series, and `split` keeps a block together. Only
windows whose answer lies in one block become examples. So no answer of a split overlaps one of
another split, and all answers of training are older than those of the test.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..schema import Schema, load_schema
from .series import Series, read_series
from .table import read_table

# A block of four horizons has three horizons of windows: the windows across its end are lost, a
# quarter. Longer blocks lose fewer, but divide a short series less evenly.
HORIZONS_PER_BLOCK = 4
NOT_IN_IDS = re.compile(r"[^\w.:-]", re.ASCII)  # ids of windows are ids of requests
MAX_ID = 64


class Window(NamedTuple):
    """The past of a series at one time, and what followed; `id` names the series and the time."""

    id: str
    history: list[float]  # oldest first
    answer: list[float]  # empty if the future is not known yet
    slice: str
    block: str  # the first time of its block


def make_id(name: str, time: str) -> str:
    """Return the id of a forecast: its series, and the time of the latest value that it saw."""
    return NOT_IN_IDS.sub("_", f"{name}:{time}")[-MAX_ID:]


def cut_windows(series: Sequence[Series], schema: Schema) -> Iterator[Window]:
    """Yield the windows whose answers lie in one block, series by series, oldest first."""
    grid = np.unique(np.concatenate([each.times for each in series]))
    text_of = {
        t: s for each in series for t, s in zip(each.times.tolist(), each.texts, strict=True)
    }
    length = HORIZONS_PER_BLOCK * schema.horizon
    for each in series:
        # Counted from the end: the latest block is whole.
        blocks = (len(grid) - 1 - np.searchsorted(grid, each.times)) // length
        for start in range(schema.window, len(each.values) - schema.horizon + 1):
            block = blocks[start]
            if block == blocks[start + schema.horizon - 1]:
                first = grid[max(0, len(grid) - (block + 1) * length)]
                yield _cut(each, start, schema, text_of[float(first)])


def find_arrived(source: Path) -> Iterator[Window]:
    """Yield every window of a table whose answer has arrived, for `POST /feedback`."""
    schema = load_schema()
    for each in read_series(read_table(source, schema), schema):
        for start in range(schema.window, len(each.values) - schema.horizon + 1):
            yield _cut(each, start, schema)


def find_latest(source: Path) -> Iterator[Window]:
    """Yield the latest values of each series of a table, for `POST /predict`."""
    schema = load_schema()
    for each in read_series(read_table(source, schema), schema, needed=schema.window):
        yield _cut(each, len(each.values), schema)


def _cut(series: Series, start: int, schema: Schema, block: str = "") -> Window:
    """Return the window whose answer starts at an index of the series."""
    return Window(
        make_id(series.name, series.texts[start - 1]),
        series.values[start - schema.window : start].tolist(),
        series.values[start : start + schema.horizon].tolist(),
        series.slices[start - 1],
        block,
    )
