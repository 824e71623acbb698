"""Rules as plain dicts, and the one way to write them: nobody types a limit twice."""

from pathlib import Path
from typing import Any, Literal

import yaml

from ..artifacts import write_whole

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
