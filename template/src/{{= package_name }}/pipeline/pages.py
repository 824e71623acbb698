"""Fill the Jinja templates of this folder; values are escaped in HTML."""

import math
import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

ESCAPES = {"|": r"\|", "<": "&lt;", ">": "&gt;", "[": r"\[", "]": r"\]"}
MENTION = re.compile(r"(?<![\w.])@(?=\w)")


def fill(template: str, **values: object) -> str:
    """Return the text of one template.

    Raises:
        UndefinedError: it uses a value that was not given.
    """
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters |= {"number": format_number, "cell": format_cell}
    return pages.get_template(template).render(values)


def format_number(value: float) -> str:
    """Return four significant digits, or whole numbers with separators from 1,000 on."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return text.replace("-", "−", 1) if text.startswith("-") else text


def format_cell(text: str) -> str:
    """Return the text for a cell of a Markdown table: names of labels may contain anything.

    It has no markup, links, pictures or mentions: a person reads it before a decision.
    """
    text = " ".join(text.split()).replace("\\", "\\\\")
    for character, shown in ESCAPES.items():
        text = text.replace(character, shown)
    return MENTION.sub("@\u200b", text)
