"""The parts of `answer.py` for answers without names: numbers have no labels to count."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

SIGNALS = ("answer",)  # of answers, which drift monitoring watches
COLUMN = "number"  # kind of a column of a table that holds the answers
CONFIDENCE_TYPE = "null"  # of the column `confidence` of the journal: numbers have an interval
MAX_SIZE = 1e30  # larger numbers could overflow float32


def is_signal(name: str) -> bool:
    """Whether drift monitoring uses this name for a signal of answers."""
    return name in SIGNALS


def count_names(head: object) -> list[str]:
    """Return the values of the label of the counter `predictions_total`: numbers have no names."""
    return [""]


def count_name(answer: Mapping[str, Any]) -> str:
    """Return under which of the names of `count_names` an answer is counted."""
    return ""


def list_said(answer: Mapping[str, Any]) -> list[str]:
    """Return what a second counter counts: nothing, numbers are not counted."""
    return []


def read_journal(label: str, fields: type[BaseModel]) -> dict[str, Any]:
    """Return the answer of a model that is in the column `label`; empty if it is damaged."""
    try:
        return fields.model_validate_json(label).model_dump()
    except ValueError:
        return {}
