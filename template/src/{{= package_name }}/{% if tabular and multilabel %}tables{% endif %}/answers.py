"""The answers in a table: labels in one column, or a column per label.

In `schema.yaml`, `label_column` is the column with all labels of a row; `|`, `;` or `,` is between
them. If it is empty, each of `labels` is a column with 0 and 1.
"""

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from ..problem import data
from ..problem.answer import NONE, SEPARATOR, Answer, write
from ..refusal import Refusal
from ..schema import Schema
from .table import Table

MAX_LABELS = 100  # each has its own threshold, bound and drift score; more are free text
KEY = "label_column in schema.yaml"
FLAGS = {  # in the column of a label, in lower case
    **dict.fromkeys(("0", "0.0", "false", "no"), False),
    **dict.fromkeys(("1", "1.0", "true", "yes"), True),
}
SHOWN = 3


def list_columns(schema: Schema) -> list[str]:
    """Return the columns that hold the answers, which are not inputs."""
    return [schema.label_column] if schema.label_column else schema.labels


def list_labels(answers: Collection[str], schema: Schema) -> list[str]:
    """Return the labels for `schema.yaml`; a column of a label stays, even if no row has it."""
    return data.list_labels(answers) if schema.label_column else schema.labels


def read_answers(table: Table, schema: Schema) -> list[str]:
    """Return the answer of each row as text.

    Raises:
        Refusal: there is no such column, a value is missing or not valid, or there are too many
            labels.
    """
    if not schema.label_column:
        return _read_columns(table, schema.labels)
    answers = _read_column(table, schema.label_column)
    labels = data.list_labels(set(answers))
    if len(labels) > MAX_LABELS:
        rule = f"at most {MAX_LABELS} labels; group them"
        raise Refusal(schema.label_column, f"{len(labels)} labels", rule, data.EXAMPLE)
    return answers


def _read_column(table: Table, name: str) -> list[str]:
    names = table.cells.column_names
    if name in names and (missing := table.present[name].null_count):
        rule = f"labels in every row; {NONE!r} if none is right, because an empty cell may mean"
        count = f"{missing} of {len(table.cells)} values missing"
        raise Refusal(name, count, f"{rule} not labelled", data.EXAMPLE)
    if name not in names:
        rule = (
            f'{KEY} must be one of the columns {", ".join(names)}; or set `label_column: ""`, and'
            " `labels` to the columns with 0 and 1, one per label"
        )
        raise Refusal("label_column", name, rule, names[-1])
    cells = table.cells[name]
    if pa.types.is_list(cells.type) or pa.types.is_large_list(cells.type):
        return [_write(name, row) for row in cells.to_pylist()]
    return data.normalize(name, cells.cast(pa.string()).to_pylist())


def _write(column: str, labels: list[object]) -> str:
    """Return a cell that is a list as text."""
    for label in labels:
        _check_name(column, label)
    return write(Answer(labels=[str(label) for label in labels]))


def _check_name(field: str, label: object) -> None:
    if not isinstance(label, str) or not label.strip() or SEPARATOR in label or label == NONE:
        raise Refusal(field, label, f"labels that are text without {SEPARATOR!r}", data.EXAMPLE)


def _read_columns(table: Table, labels: list[str]) -> list[str]:
    columns = []
    for label in labels:
        _check_name("labels", label)
        texts = table.filled(label, "labels in schema.yaml").cast(pa.string())
        odd = [text for text in pc.unique(texts).to_pylist() if text.lower() not in FLAGS]
        if odd:
            rule = "0 or 1, false or true, no or yes in the column of a label"
            raise Refusal(label, odd[:SHOWN], rule, 1)
        columns.append([FLAGS[text.lower()] for text in texts.to_pylist()])
    rows = zip(*columns, strict=True)
    return [
        write(Answer(labels=[name for name, has in zip(labels, row, strict=True) if has]))
        for row in rows
    ]
