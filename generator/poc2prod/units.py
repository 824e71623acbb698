"""Read numbers as people type them: `200 ms`, `1,000`, `0,9`, `$300`, `90 %`.

The end of a question's key is its unit, as in `max_latency_p95_ms`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Unit:
    """The unit of a question, as in "a number in ms", and other units as multiples of it."""

    phrase: str
    factors: Mapping[str, float]


def _multiples(*groups: tuple[str, float]) -> dict[str, float]:
    return {word: factor for words, factor in groups for word in words.split()}


MS = _multiples(
    ("ms msec millisecond milliseconds", 1),
    ("s sec secs second seconds", 1000),
    ("min minute minutes", 60_000),
    ("us µs", 0.001),
)
PER_S = _multiples(
    ("s sec second hz rps", 1),
    ("m min minute rpm", 1 / 60),
    ("h hour", 1 / 3600),
    ("d day", 1 / 86_400),
)
MB = _multiples(
    ("mb megabyte megabytes", 1),
    ("kb kilobyte kilobytes", 0.001),
    ("gb gigabyte gigabytes", 1000),
    ("mib", 1.048576),
)
USD = _multiples(("usd $ dollar dollars", 1))
UNITS = {
    "_ms": Unit("in ms", MS),
    "_per_s": Unit("per second", PER_S),
    "_mb": Unit("in MB", MB),
    "_usd_month": Unit("in USD per month", USD),
}
NO_UNIT = Unit("", {"%": 0.01, "percent": 0.01})
# Text around the units above that does not change them.
FILLER = re.compile(r"\b(predictions?|requests?|req|per|a|each|months?|mo)\b|/|\s")
NUMBER = re.compile(r"([$€]?)\s*([-+]?[\d.][\d.,_' ]*(?:e[-+]?\d+)?)\s*(\D.*)?", re.IGNORECASE)
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}([,_' ]\d{3})+(\.\d+)?")
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")


def unit_of(key: str) -> str:
    """Return the unit of a question, like "in ms"; "" for a ratio or a count."""
    return _unit(key).phrase


def parse_number(text: str, key: str) -> float | None:
    """Read a number, alone or in the question's unit; None for anything else."""
    number, factor = _read(text, key)
    return round(number * factor, 12) if factor == 1 or not unit_of(key) else None


def convert(value: Any, key: str) -> float | None:
    """Read a number in any known unit and convert it to the question's; None for anything else."""
    number, factor = _read(value, key) if isinstance(value, str) else (math.nan, math.nan)
    return number * factor if math.isfinite(number * factor) else None


def _unit(key: str) -> Unit:
    return next((unit for end, unit in UNITS.items() if key.endswith(end)), NO_UNIT)


def _read(text: str, key: str) -> tuple[float, float]:
    """Return a number and the factor of its unit; NaN for what cannot be read."""
    found = NUMBER.fullmatch(text.replace("\u00a0", " ").replace("\u202f", " ").strip())
    if not found:
        return math.nan, math.nan
    before, digits, after = (part or "" for part in found.groups())
    unit = FILLER.sub("", (before + after).lower())
    return _parse_digits(digits.strip()), _unit(key).factors.get(unit, math.nan if unit else 1)


def _parse_digits(text: str) -> float:
    if THOUSANDS.fullmatch(text):
        text = re.sub(r"[,_' ]", "", text)
    elif DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return math.nan
