"""The answers in a table: a number per row."""

from collections.abc import Collection

from ..schema import Schema
from .table import Table
from .values import read_numbers


def list_columns(schema: Schema) -> list[str]:
    """Return the columns that hold the answers, which are not inputs."""
    return [schema.label_column]


def list_labels(answers: Collection[str], schema: Schema) -> list[str]:
    """Return the labels for `schema.yaml`: numbers have none."""
    return []


def read_answers(table: Table, schema: Schema) -> list[str]:
    """Return the answer of each row as text.

    Raises:
        Refusal: there is no such column, a value is missing, or one is not a plain number.
    """
    return [repr(value) for value in read_numbers(table, schema.label_column)]
