"""Read a CSV file as text, or a Parquet file with its types."""

import csv
import re
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from ..refusal import Refusal
from ..schema import Schema

UTF_16 = b"\xff\xfe", b"\xfe\xff"  # byte order marks
SEPARATORS = ";\t|"
# The names that pandas, R, Spark and pyarrow give to a row index.
INDEX_NAME = re.compile(r"Unnamed: \d+|\.\.\.\d+|_c0|__index_level_\d+__|")


class Table(NamedTuple):
    """The cells of a file. In a CSV file all are text, with exactly the file's characters."""

    cells: pa.Table
    present: pa.Table  # the same cells, but null where a spelling counts as missing
    is_typed: bool  # the file says which columns are numbers

    def filled(self, name: str, key: str = "columns in schema.yaml") -> pa.ChunkedArray:
        """Return a column.

        Raises:
            Refusal: there is no such column, or a value is missing.
        """
        names = self.cells.column_names
        if name not in names:
            rule = f"one of the columns of the file: {', '.join(names)}"
            raise Refusal(key, name, rule, names[-1])
        cells = self.cells[name]
        gaps = pc.indices_nonzero(pc.is_null(self.present[name], nan_is_null=True))
        if not len(gaps):
            return cells
        row = gaps[0].as_py()
        spelling = cells[row].as_py()
        keep = ""
        if spelling and not self.is_typed:
            keep = "; if it is a value, put it in quotes or set `missing: []` in schema.yaml"
        count = f"{len(gaps)} of {len(cells)} values missing or infinite"
        rule = (
            f"every row needs a finite value, but {spelling!r} in row {row + 1} means missing; fill"
            f" the gaps, or drop the rows or the column{keep}"
        )
        raise Refusal(name, count, rule, 0)


def read_table(source: Path, schema: Schema) -> Table:
    """Read all columns that the schema does not ignore.

    Raises:
        Refusal: the file cannot be read, or its columns have no proper names.
    """
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    read = readers.get(source.suffix.lower())
    if read is None or not source.is_file():
        raise Refusal("source", str(source), "an existing .csv or .parquet file", "payments.csv")
    try:
        table = read(source, schema.missing)
        names = table.cells.column_names
    except Refusal:
        raise
    except (pa.ArrowException, OSError, ValueError, csv.Error) as error:
        rule = f"a whole table ({str(error).splitlines()[0]})"
        raise Refusal("source", str(source), rule, "payments.csv") from None
    if len(table.cells) == 0:
        raise Refusal("source", str(source), "a table with rows", "payments.csv")
    kept = [i for i, name in enumerate(names) if name not in schema.ignored_columns]
    table = Table(table.cells.select(kept), table.present.select(kept), table.is_typed)
    _check_names(table)
    return table


def _check_names(table: Table) -> None:
    names = table.cells.column_names
    for name in names:
        if INDEX_NAME.fullmatch(name):
            rule = (
                "not the index of an export; write the file without it (with pandas, index=False),"
                f" or set `ignored_columns: [{name!r}]` in schema.yaml"
            )
            raise Refusal("columns", name, f"column names must be unique and not empty, {rule}", 0)
        if name != name.strip() and not table.is_typed:
            rule = "names without blanks at the ends; is the separator ', '? It must be ','"
            raise Refusal("columns", name, rule, name.strip())
    if len(set(names)) < len(names):
        rule = "column names must be unique and not empty (with pandas, write index=False)"
        raise Refusal("columns", names, rule, ["amount_usd", "label"])


def _read_parquet(source: Path, missing: list[str]) -> Table:
    cells = pa.parquet.read_table(source)
    return Table(cells, cells, is_typed=True)


def _read_csv(source: Path, missing: list[str]) -> Table:
    """Read twice: the text of the cells, and which of them are missing (`""` is not)."""
    text = dict.fromkeys(_header(source), pa.string())
    whole = pa.csv.ReadOptions(block_size=min(source.stat().st_size + 1, 2**31 - 1))
    options = (
        pa.csv.ConvertOptions(column_types=text, strings_can_be_null=False),
        pa.csv.ConvertOptions(
            column_types=text,
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=["", *missing],
        ),
    )
    cells, present = (
        pa.csv.read_csv(source, read_options=whole, convert_options=o) for o in options
    )
    return Table(cells, present, is_typed=False)


def _header(source: Path) -> list[str]:
    """Return the column names; name the encoding or the separator if it is another one."""
    with source.open("rb") as file:
        start = file.read(1000)
    if start.startswith(UTF_16) or b"\0" in start:
        rule = "UTF-8 text, but this is UTF-16; save the file as UTF-8"
        raise Refusal("source", str(source), rule, "payments.csv")
    with source.open(encoding="utf-8-sig", newline="") as file:
        line = next(filter(str.strip, file), "")
        file.seek(0)
        header = next(filter(None, csv.reader(file)), [])
    columns = len(next(csv.reader([line]), []))
    for separator in SEPARATORS:
        if len(next(csv.reader([line], delimiter=separator), [])) > columns:
            rule = f"columns separated by ','; is the separator {separator!r}? Save it with commas"
            raise Refusal("columns", line.strip(), rule, "amount_usd,label")
    return header
