"""The answers in a table: a label per row."""

from collections.abc import Collection

from ..problem import data
from ..schema import Schema
from .table import Table
from .values import read_texts


def list_columns(schema: Schema) -> list[str]:
    """Return the columns that hold the answers, which are not inputs."""
    return [schema.label_column]


def list_labels(answers: Collection[str], schema: Schema) -> list[str]:
    """Return the labels for `schema.yaml`."""
    return data.list_labels(answers)


def read_answers(table: Table, schema: Schema) -> list[str]:
    """Return the answer of each row as text.

    Raises:
        Refusal: there is no such column, a value is missing, or there are too many labels.
    """
    return read_texts(table, schema.label_column, "label_column in schema.yaml")
