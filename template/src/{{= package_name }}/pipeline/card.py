"""Write the model card, and the table of limits in the README."""

import re
from pathlib import Path
from typing import Any

from ..artifacts import read_report
from ..cost import PRICES, Prices
from ..framework import MODEL_REPORT, STAGES
from ..problem import metrics, words
from ..schema import load_schema
from ..scope import load_scope, read_yaml
from ..task.contract import contract
from .pages import fill
from .summary import (
    findings,
    headline,
    identity,
    is_sample,
    purpose,
    recorded_gates,
)

README = Path("README.md")
CARD = Path("docs/card.md")
TABLE = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- /measured -->)", re.DOTALL)


def card() -> None:
    """Write both from the measurements in `reports/`, whether or not the limits are met."""
    README.write_text(TABLE.sub(lambda _: table(), README.read_text()))
    CARD.write_text(model_card())


def table() -> str:
    """Return the recorded gates as a Markdown table, with the model and the data they are about."""
    return fill("limits.md", **_verdict(), root="")


def model_card() -> str:
    """Return the card: intended use, quality and data (Mitchell et al. 2019).

    The same reports give the same card: `release` compares it with the file.
    """
    scope = load_scope()
    quality = read_report("evaluate")
    data, made = read_report("ingest"), read_report(MODEL_REPORT, STAGES[0])
    return fill(
        "card.md",
        **_verdict(),
        root="../",
        scope=scope,
        purpose=purpose(quality),
        training=made,
        origin=made.get("origin", []),  # of a model that was not trained here
        data=data,
        findings=findings(quality),
        quality=quality,
        metric_meaning=words.METRIC_MEANINGS[scope.metric],
        bound=metrics.BOUND,
        bound_meaning=words.BOUND_MEANS.format(confidence=f"{100 * scope.confidence:g} %"),
        evidence=words.evidence_table(quality),
        answers=words.describe_answers(data),
        input_rules=_input_rules(),
        column_count=len(load_schema().columns),
    )


def _verdict() -> dict[str, Any]:
    gates = recorded_gates()
    return {
        "gates": gates,
        "headline": headline(gates),
        "model": identity(),
        "is_sample": is_sample(),
        "cost": next((gate for gate in gates if gate.id == "cost"), None),
        "prices": read_yaml(PRICES, Prices),
    }


def _input_rules() -> list[str]:
    """Return the limits of `task/contract.py` in words, for fields that have any."""
    rules = []
    for name, field in contract().model_fields.items():
        signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
        limits = [
            f"{sign} {getattr(rule, key):g}"
            for rule in field.metadata
            for key, sign in signs.items()
            if isinstance(getattr(rule, key, None), int | float)
        ]
        rules += [f"{name} {' and '.join(limits)}"] if limits else []
    return rules
