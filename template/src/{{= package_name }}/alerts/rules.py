"""Rules as plain dicts, and the one way to write them: nobody types a limit twice."""

from pathlib import Path
from typing import Any, Literal

import yaml

from ..artifacts import write_whole
from ..refusal import Refusal
from ..scope import Watch

Rule = dict[str, Any]
Severity = Literal["page", "ticket"]


def alert(
    name: str,
    expr: str,
    severity: Severity,
    summary: str,
    runbook: str,
    for_s: float = 0,
    **labels: str,
) -> Rule:
    """Return a rule that calls somebody now (page) or in the morning (ticket).

    `runbook` is a heading of docs/runbook.md; `for_s` is how long `expr` has to hold, in seconds.
    """
    return {
        "alert": name,
        "expr": expr,
        "for": f"{for_s:.0f}s",
        "labels": {"severity": severity, **labels},
        "annotations": {"summary": summary, "runbook": f"docs/runbook.md#{runbook}"},
    }


def retrain_due(watch: Watch, kind: str, *names: str) -> Rule:
    """Return the rule that asks for a candidate: alerts of these names fired for hours.

    Hours are added up over the last `retrain_of_h`, so that one alert that comes and goes counts
    like one that stays, and a short one starts no training.

    Raises:
        Refusal: it could never fire.
    """
    after_h, of_h = watch.retrain_after_h, watch.retrain_of_h
    if after_h > of_h:
        rule = f"at most retrain_of_h, which is {of_h}"
        raise Refusal("watch.retrain_after_h", after_h, rule, of_h)
    firing = f'ALERTS{{alertstate="firing", alertname=~"{"|".join(names)}"}}'
    return alert(
        "RetrainDue",
        f"avg_over_time((clamp_max(count(\n{firing}\n"
        f"), 1) or vector(0))[{of_h}h:5m]) >= {after_h} / {of_h}",
        "ticket",
        f"Alerts about the model fired in {after_h} of the last {of_h} hours.",
        "retrain-due",
        kind=kind,
    )


def write_rules(path: Path, groups: dict[str, list[Rule]]) -> None:
    """Write groups of rules, by their names, to a file that Prometheus loads."""
    content = {"groups": [{"name": name, "rules": rules} for name, rules in groups.items()]}
    text = yaml.dump(content, Dumper=_Readable, sort_keys=False, width=1000, allow_unicode=True)
    write_whole(path, f"# Written by `make alerts` from scope.yaml.\n{text}".encode(), 0o644)
    names = (rule.get("alert") for rules in groups.values() for rule in rules)
    print(f"{path}:", *dict.fromkeys(filter(None, names)))


class _Readable(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def lines(self, text: str) -> yaml.ScalarNode:
        style = "|" if "\n" in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


_Readable.add_representer(str, _Readable.lines)
