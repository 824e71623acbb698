"""Rules as plain dicts, and the one way to write them: nobody types a limit twice."""

from pathlib import Path
from typing import Any, Literal

import yaml

from ..artifacts import write_whole

Rule = dict[str, Any]


def alert(
    name: str,
    expr: str,
    severity: Literal["page", "ticket"],
    summary: str,
    runbook: str,
    for_s: float = 0,
) -> Rule:
    """Return a rule that calls somebody now (page) or in the morning (ticket).

    `runbook` is a heading of docs/runbook.md; `for_s` is how long `expr` has to hold, in seconds.
    """
    return {
        "alert": name,
        "expr": expr,
        "for": f"{for_s:.0f}s",
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "runbook": f"docs/runbook.md#{runbook}"},
    }


def write_rules(path: Path, groups: dict[str, list[Rule]]) -> None:
    """Write groups of rules, by their names, to a file that Prometheus loads."""
    content = {"groups": [{"name": name, "rules": rules} for name, rules in groups.items()]}
    text = yaml.dump(content, Dumper=_Indented, sort_keys=False, width=100, allow_unicode=True)
    write_whole(path, f"# Written by `make alerts` from scope.yaml.\n{text}".encode(), 0o644)
    print(f"{path}:", *(rule["alert"] for rules in groups.values() for rule in rules))


class _Indented(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)
