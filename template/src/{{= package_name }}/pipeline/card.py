"""Promise against measured, for people: the table in the README and the model card."""

import re
import time
from pathlib import Path

from ..artifacts import REPORTS, read_report
from ..gates import Gate, verdicts
from ..scope import load_scope

README = Path("README.md")
CARD = Path("docs/card.md")
TABLE = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- /measured -->)", re.DOTALL)
NOT_YET = "Nothing is measured yet: `make model` fills this table.\n"


def card() -> None:
    """Write both from the evidence in `reports/`."""
    README.write_text(TABLE.sub(lambda _: table(), README.read_text()))
    CARD.write_text(model_card())


def table() -> str:
    """Return the promises as a Markdown table."""
    if not (REPORTS / "gates.json").exists():
        return NOT_YET
    head = "| promise | limit | measured | |\n|---|---|---|---|\n"
    return head + "".join(map(_row, verdicts()))


def _row(gate: Gate) -> str:
    limit, verdict = f"{gate.comparison} {gate.limit:g}", "kept" if gate.passed else "**broken**"
    return f"| {gate.name} | {limit} | {gate.observed:.4g} | {verdict} |\n"


def model_card() -> str:
    """Return the card: what it is for, how good it is, and on whom (Mitchell et al. 2019)."""
    scope, quality, data = load_scope(), read_report("evaluate"), read_report("ingest")
    training, shipped = read_report("train"), read_report("compress")["shipped"]
    day = time.strftime("%Y-%m-%d", time.gmtime(training["trained_at"]))
    slices = "".join(
        f"| {name} | {score['examples']} | {score['value']:.4g} | {score['lower_bound']:.4g} |\n"
        for name, score in quality["slices"].items()
    )
    labels = ", ".join(f"{label} ({count})" for label, count in data["labels"].items())
    return f"""# Model card: {scope.project}

Written by `make card` from `scope.yaml` and `reports/`; do not edit it by hand.

- Answers with one label for one {scope.modality} input; runs on: {scope.target}.
- Not for {scope.not_for}.
- Decides whether it succeeds: {scope.decider or "nobody is named"}; answers for the data:
  {scope.data_owner or "nobody is named"}.
- Network of {training["parameters"]} parameters, shipped as {shipped} ONNX, trained {day} on
  {training["examples"]} examples.
- Data: {data["source"]}, with the labels {labels}.

## Promised and measured

{table()}
Quality is measured on {quality["score"]["examples"]} held-out examples, with the file that is
shipped. A bound is what the metric is at least, {scope.confidence:.0%} sure.

## Slices

| slice | held-out examples | {scope.metric} | at least |
|---|---|---|---|
{slices}"""
