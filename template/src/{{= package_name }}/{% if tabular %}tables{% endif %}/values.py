"""What a column contains: numbers, categories, or values that fit neither."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..refusal import Refusal, is_amount, reject_look_alikes
from .table import Table

MAX_VALUES = 50  # distinct ones of a label, slice or category
MIN_ROWS_PER_VALUE = 4  # on average; text with fewer is an id
MAX_NUMBER = 1e30  # larger numbers could overflow float32
MAX_WHOLE = 2**53  # float64 and JSON readers round larger whole numbers
VALUES_SHOWN = 5
# Text that is the only way to write its number, but for zeros at the end and a point without a zero
# before it. 007, +5 and 0x1F are codes; so is 1E5, while programs write 1e+05, 1e-05 or 1.0E5.
NUMBER = r"^-?(?:(?:0|[1-9]\d*)(?:\.\d+)?|\.\d+)(?:[eE][-+]\d+)?$|^-?(?:0|[1-9]\d*)\.\d+[eE]\d+$"
# Text that a person reads as a number: with signs, separators, currencies, per cent and units.
LOOSE_NUMBER = (
    r"^\s*[-+(<>~≤≥]?\s*[$€£¥]?\s*[-+]?"
    r"(?:\d{1,3}(?:[,.'\x{a0}\x{202f} ]\d{3})+|\d+|[.,]\d)(?:[.,]\d*)?(?:[eE][-+]?\d+)?"
    r"(?:\s*[%‰€$£¥)]|\s+[A-Za-z°/]{1,5})?\s*$|^\s*0[xX][0-9a-fA-F]+\s*$"
    r"|^[-+]?(?i:inf(?:inity)?)$"
)
CODE = r"^\d+$"  # text in Parquet, where a number would have its own type
_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_MONTH_NAME = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_TIME = r"\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[ap]m)?"
DATE = (
    rf"(?i)^\s*(?:{_YEAR}[-/](?:{_MONTH}|[1-9])|{_YEAR}[-/.]\d{{1,2}}[-/.]\d{{1,2}}(?:[t ].*)?"
    rf"|\d{{1,2}}[-/.]\d{{1,2}}[-/.]{_YEAR}(?:[t ].*)?|\d{{1,2}}/\d{{1,2}}/\d\d(?: .*)?"
    rf"|\d\d[-.]\d\d[-.]\d\d|{_YEAR}[- ]?[qw]\d{{1,2}}|q[1-4][- /]?{_YEAR}|{_TIME}"
    rf"|(?:[a-z]{{3,9}},? )?(?:\d{{1,2}}[-. ]+)?{_MONTH_NAME}[-., ]+(?:\d{{1,2}},? +)?\d{{2,4}}.*"
    rf")\s*$"
)
DATE_NUMBER = rf"^{_YEAR}{_MONTH}{_DAY}(?:\d{{6}})?$"  # 20260131, 20260131235959
ID_NAME = re.compile(r"(?i:(?:.*[\W_])?(?:id|uuid|guid))|.*[a-z0-9](?:Id|ID)")
# Random whole numbers repeat as birthdays do: n of them from a range r are all different with a
# probability of about exp(-n²/2r). Above n²/r = 20, that is below 1 in 20,000.
BIRTHDAYS = 20


def read_numbers(table: Table, name: str) -> list[float]:
    """Return a column as floats.

    Raises:
        Refusal: a value is missing, is not a plain number, or is too large.
    """
    cells = table.filled(name)
    if _is_text(cells.type):
        if not pc.all(_matches(cells, NUMBER)).as_py():
            raise _not_numbers(name, cells)
        whole = cells.filter(_matches(cells, r"^-?\d{16,}$"))
    else:
        is_whole = pa.types.is_integer(cells.type) or getattr(cells.type, "scale", 1) == 0
        whole = cells if is_whole else cells.slice(0, 0)
    if large := [v for v in whole.to_pylist() if abs(int(v)) > MAX_WHOLE]:
        rule = (
            "no whole number above 2**53 (9007199254740992), which JSON and float64 cannot hold;"
            f" list the column under ignored_columns in schema.yaml, or {_keep(name)}"
        )
        raise Refusal(name, large[0], rule, 42.0)
    try:
        values: list[float] = cells.cast(pa.float64()).to_pylist()
    except pa.ArrowException:
        raise _no_cast(name, cells) from None
    if infinite := [value for value in values if not abs(value) <= MAX_NUMBER]:
        count = f"{len(infinite)} of {len(values)} values missing or infinite"
        rule = f"every row needs a finite value up to {MAX_NUMBER:g}, unlike {infinite[0]}"
        raise Refusal(name, count, rule, 0)
    return values


def read_texts(table: Table, name: str, key: str = "columns in schema.yaml") -> list[str]:
    """Return a column as text, with the characters of the file.

    Raises:
        Refusal: a value is missing, or there are too many values, or two look alike.
    """
    cells = table.filled(name, key)
    try:
        values: list[str] = cells.cast(pa.string()).to_pylist()
    except pa.ArrowException:
        raise _no_cast(name, cells) from None
    distinct = sorted(set(values))
    if "" in distinct or all(value.startswith(" ") for value in distinct):
        rule = "text without a blank at its start; is the separator ', '? It must be ','"
        rule = rule if distinct[0] else "text that is not empty"
        raise Refusal(name, distinct[0], rule, distinct[-1].strip())
    many = min(MAX_VALUES, len(values) / MIN_ROWS_PER_VALUE)
    if len(distinct) > many:
        rule = (
            f"at most {many:.0f} values; group them, or drop ids, dates and free text: list the"
            " column under ignored_columns in schema.yaml"
        )
        if key.startswith("label"):
            rule = f"at most {many:.0f} labels; group them" + _describe_amounts(distinct)
        raise Refusal(name, f"{len(distinct)} values in {len(values)} rows", rule, ["food", "rent"])
    reject_look_alikes(name, distinct)
    return values


def _describe_amounts(distinct: list[str]) -> str:
    """Return how to predict a number, if these texts are numbers."""
    if not all(map(is_amount, distinct)):
        return ""
    command = "`poc2prod update --to current --answer problem=regression`"
    return f", or predict the number itself: this looks like `problem: regression` ({command})"


def read_keys(table: Table, name: str, key: str = "split in schema.yaml") -> list[str]:
    """Return a column as text, however many values it has: persons, times or splits.

    Raises:
        Refusal: there is no such column, a value is missing, or it is not text, number or time.
    """
    cells = table.filled(name, key)
    try:
        values: list[str] = cells.cast(pa.string()).to_pylist()
    except pa.ArrowException:
        raise _no_cast(name, cells) from None
    return values


def infer_kind(table: Table, name: str, chosen: str) -> str:
    """Return `number` or `category`; `chosen` is what the user wrote in `schema.yaml`, or empty.

    Raises:
        Refusal: the column is neither, or could be both.
    """
    cells = table.filled(name)
    if pa.types.is_temporal(cells.type):
        raise _date(name, str(cells[0].as_py()))
    if not (_is_text(cells.type) or pa.types.is_dictionary(cells.type)):
        types = pa.types
        numeric = types.is_integer, types.is_floating, types.is_decimal, types.is_boolean
        kind = "number" if any(is_(cells.type) for is_ in numeric) else "category"
        return chosen or kind
    text = cells.cast(pa.string())
    is_number, is_date = _matches(text, NUMBER), _matches(text, DATE)
    if not pc.all(is_number).as_py() and _is_most(text, is_date):
        raise _date(name, text.filter(is_date)[0].as_py())
    if chosen or pa.types.is_dictionary(cells.type):
        return chosen or "category"
    if table.is_typed and pc.all(_matches(text, CODE)).as_py():
        return "category"
    if pc.all(is_number).as_py() and not table.is_typed:
        return "number"
    if _is_most(text, _matches(text, LOOSE_NUMBER)):
        raise _not_numbers(name, text)
    return "category"


def reject_identifiers(name: str, values: list[float]) -> None:
    """Reject row numbers, ids and dates as numbers.

    Raises:
        Refusal: the numbers are not a quantity.
    """
    numbers = np.array(values)
    steps, width = np.diff(numbers), np.ptp(numbers)
    is_whole = bool((numbers == np.round(numbers)).all())
    days = (re.fullmatch(DATE_NUMBER, f"{value:.0f}") for value in values)
    if is_whole and all(days):
        raise _date(name, f"{values[0]:.0f}")
    is_sequence = len(steps) > 1 and steps[0] != 0 and np.allclose(steps, steps[0], 1e-6, 0)
    is_distinct = is_whole and len(set(values)) == len(values) and len(values) > 2
    is_unlikely = is_distinct and len(values) ** 2 > BIRTHDAYS * width
    if is_sequence or is_unlikely or (is_whole and ID_NAME.fullmatch(name)):
        rule = (
            "not a row number or an identifier; list the column under ignored_columns in"
            f" schema.yaml; if rows with the same {name} belong together, set `split: {{by: group,"
            f" column: {name}}}`; if it is a quantity, set `{name}: {{kind: number}}` under columns"
        )
        raise Refusal(name, values[:3], rule, 42.0)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _matches(cells: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    return pc.match_substring_regex(cells, pattern)


def _is_most(cells: pa.ChunkedArray, is_match: pa.ChunkedArray) -> bool:
    """Whether most rows or most distinct values match."""
    matching = pc.count_distinct(cells.filter(is_match)).as_py()
    share = pc.mean(is_match).as_py()
    return bool(max(share, matching / pc.count_distinct(cells).as_py()) > 0.5)


def _keep(name: str) -> str:
    return f"keep it as text: set `{name}: {{kind: category}}` under columns in schema.yaml"


def _not_numbers(name: str, cells: pa.ChunkedArray) -> Refusal:
    """Name the values that are not plain numbers, and how the first one could be read."""
    is_number = _matches(cells, NUMBER)
    odd: list[str] = cells.filter(pc.invert(is_number)).unique().to_pylist()
    odd = sorted(odd or cells.unique().to_pylist())
    number = _reading(odd[0])
    both = f" ({odd[0]!r} is text, or the number {number})" if number else ""
    rule = (
        f"plain numbers like 1200 or -1.5 in every row, not in {pc.sum(is_number).as_py() or 0} of"
        f" {len(cells)}{both}; convert these values or drop their rows, or {_keep(name)}"
    )
    return Refusal(name, odd[:VALUES_SHOWN], rule, 42.0)


def _reading(text: str) -> str:
    try:
        value = int(text, 16) if text.strip().lower().startswith("0x") else float(text)
    except ValueError:
        return ""
    return f"{value:.15g}"


def _date(name: str, value: str) -> Refusal:
    rule = (
        "not a date or a time, because each new one would be unknown; use the day of week, the"
        " month, the hour or an age in days, list the column under ignored_columns in schema.yaml,"
        f" or divide the rows by it: `split: {{by: time, column: {name}}}`"
    )
    return Refusal(name, value, rule, "Friday")


def _no_cast(name: str, cells: pa.ChunkedArray) -> Refusal:
    rule = "numbers or UTF-8 text; convert or drop the column"
    return Refusal(name, str(cells.type), rule, 42.0)
