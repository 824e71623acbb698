"""Write the model card, and the table of limits in the README."""

import json
import re
import time
from pathlib import Path

from ..artifacts import REPORTS, read_report
from ..gates import Gate
from ..scope import load_scope
from .pages import fill

README = Path("README.md")
CARD = Path("docs/card.md")
TABLE = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- /measured -->)", re.DOTALL)


def card() -> None:
    """Write both from the evidence in `reports/`."""
    README.write_text(TABLE.sub(lambda _: table(), README.read_text()))
    CARD.write_text(model_card())


def table() -> str:
    """Return the recorded gates as a Markdown table."""
    return fill("limits.md", gates=_recorded_gates())


def _recorded_gates() -> list[Gate]:
    path = REPORTS / "gates.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    return [Gate.model_validate(row) for row in rows]


def model_card() -> str:
    """Return the card: intended use, quality and data (Mitchell et al. 2019)."""
    scope = load_scope()
    training = read_report("train")
    data = read_report("ingest")
    return fill(
        "card.md",
        scope=scope,
        training=training,
        data=data,
        quality=read_report("evaluate"),
        gates=_recorded_gates(),
        shipped=read_report("compress")["shipped"],
        day=time.strftime("%Y-%m-%d", time.gmtime(training["trained_at"])),
        labels=", ".join(f"{label} ({count})" for label, count in data["labels"].items()),
        sure=f"{scope.confidence:.0%}",
    )
