"""Error budgets: an alert when one is spent too fast, over a short and a long window at once.

Google, The Site Reliability Workbook (2018), chapter 5, "Alerting on SLOs".
"""

from ..refusal import Refusal
from .rules import Rule, Severity, alert

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
BURNS: dict[Severity, list[tuple[str, str, float]]] = {  # how many times too fast, in both windows
    "page": [("5m", "1h", 14.4), ("30m", "6h", 6)],
    "ticket": [("2h", "1d", 3), ("6h", "3d", 1)],
}
FASTEST = max(times for pairs in BURNS.values() for *_, times in pairs)
FOR_S: dict[Severity, float] = {"page": 120, "ticket": 900}


def budget(slo: str, field: str, objective: float, errors: str, runbook: str) -> list[Rule]:
    """Return what records the share of errors over each window, and the alerts about it.

    `errors` is PromQL for that share, 0 to 1, with `[w]` where the window belongs; `objective` is
    the share that has to be good, which `field` promises.

    Raises:
        Refusal: there is no budget, or so much that even nothing but errors calls nobody.
    """
    left = 1 - objective
    if not 0 < FASTEST * left < 1:
        rule = f"above {1 - 1 / FASTEST:.4f} and below 1, or its alert is never right"
        raise Refusal(field, objective, rule, 0.999)
    recorded = f"slo:{slo}:error_ratio_rate"
    rules: list[Rule] = [
        {"record": f"{recorded}{w}", "expr": errors.replace("[w]", f"[{w}]")} for w in WINDOWS
    ]
    for severity, pairs in BURNS.items():
        both = (
            f"({recorded}{short} > {times * left:.6g} and {recorded}{long} > {times * left:.6g})"
            for short, long, times in pairs
        )
        rules.append(
            alert(
                f"{slo.capitalize()}BudgetBurn",
                "\nor ".join(both),
                severity,
                f"The error budget of {slo} is spent too fast.",
                runbook,
                FOR_S[severity],
                slo=slo,
            )
        )
    return rules
