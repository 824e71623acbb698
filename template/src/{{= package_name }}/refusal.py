"""Errors about invalid input, with the violated rule and a valid example."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

# Numbers, and numbers with signs, separators, currencies, per cent and units. 007 is a code.
AMOUNT = re.compile(
    r"\s*[-+(<>~≤≥]?\s*[$€£¥]?\s*[-+]?(?:(?:0|[1-9][\d,' ]*)(?:[.,]\d*)?|[.,]\d+)"
    r"(?:[eE][-+]?\d+)?(?:\s*[%‰€$£¥)]|\s+[A-Za-z°/]{1,5})?\s*"
)
MAX_NAME = 64  # characters
SHOWN = 80  # characters of a value: clients may send very long ones


class Refusal(ValueError):
    """An input is invalid: the field, its value, the rule, and a valid example."""

    def __init__(self, field: str, value: object, rule: str, example: object) -> None:
        shown_value = repr(value)[:SHOWN]
        super().__init__(f"{field}: got {shown_value}; {rule}, for example {example!r}")
        self.detail = {"field": field, "value": shown_value, "rule": rule, "example": repr(example)}

    @classmethod
    def from_validation(cls, error: ValidationError, example: Mapping[str, object]) -> "Refusal":
        """Describe the first error of a pydantic model."""
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "json"
        # A field without an example, such as an unknown one: show a whole input.
        shown = example.get(field, dict(example))
        return cls(field, first["input"], first["msg"].lower(), shown)


def reject_look_alikes(field: str, names: Iterable[str]) -> None:
    """Compare names without regard to blanks, invisible characters, case, form and a last dot.

    Raises:
        Refusal: two names look the same, but are different.
    """
    first: dict[str, str] = {}
    for name in sorted(set(names)):
        visible = "".join(c for c in name if unicodedata.category(c) != "Cf")
        # Windows drops dots and blanks at the end of a folder's name.
        shape = unicodedata.normalize("NFD", " ".join(visible.split()).rstrip(". "))
        shape = unicodedata.normalize("NFC", shape.casefold())
        if (other := first.setdefault(shape, name)) != name:
            pair = [other, name]
            is_same = len({unicodedata.normalize("NFC", spelling) for spelling in pair}) == 1
            show = ascii if is_same else repr  # `repr` would show both forms of é alike
            rule = f"one spelling for names that look alike, not {show(other)} and {show(name)}"
            raise Refusal(field, pair, rule, other.strip())


def check_names(field: str, names: Iterable[str]) -> None:
    """Check names of labels, slices and columns, which pages, metrics and alerts show.

    Raises:
        Refusal: a name is longer than `MAX_NAME` characters, or has one that cannot be printed.
    """
    for name in sorted(set(names)):
        if len(name) > MAX_NAME or not name.isprintable():
            rule = f"at most {MAX_NAME} characters in one line, none of them invisible"
            raise Refusal(field, name, rule, name[:20].split("\n")[0].strip() or "scratched")


def is_amount(name: str) -> bool:
    """Whether a person would read a name as a number."""
    return AMOUNT.fullmatch(name) is not None


def reject_amounts(field: str, labels: Sequence[str], listed: Sequence[str]) -> None:
    """Reject numbers as labels, unless `schema.yaml` listed these very labels before.

    Two numbers, like 0 and 1, are a usual way to write no and yes.

    Raises:
        Refusal: there are more than two labels, and all are numbers.
    """
    if len(labels) > 2 and all(map(is_amount, labels)) and not set(labels) <= set(listed):
        rule = (
            "names, not amounts: labels have no order, so predicting 3 for 4 would be as wrong as"
            " 0. This looks like `problem: regression`, which predicts the number itself (`poc2prod"
            " update --to current --answer problem=regression`). Or group the amounts and name the"
            " groups. If these are names, list them in"
            f" schema.yaml, then ingest again: `labels: {json.dumps(labels, ensure_ascii=False)}`"
        )
        raise Refusal(field, labels, rule, ["few", "many"])


def parse_json(text: bytes) -> Any:
    """Parse JSON. Unlike `json.loads`, reject a repeated key: the last value would win.

    Raises:
        Refusal: an object has a key twice.
        ValueError: this is not JSON.
    """
    return json.loads(text, object_pairs_hook=_to_dict)


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Refusal(twice[:SHOWN], [v for n, v in pairs if n == twice], "each key once", 1)
    return unique


def check_size(payload_bytes: int, max_bytes: int) -> None:
    """Check the size of a payload, in training data and in requests.

    Raises:
        Refusal: it is too large.
    """
    if payload_bytes > max_bytes:
        size, rule = f"{payload_bytes} bytes or more", f"at most {max_bytes} bytes"
        raise Refusal("payload", size, rule, "a smaller file")
