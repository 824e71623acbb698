"""Estimates size, latency, servers, devices and cost of a scope before anything is written.

The arithmetic and its figures live in `includes/`, where Copier's own prompts ask for them, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateNotFound
from rich.table import Table

from .questions import Questions, fits
from .refusal import Refusal

MACROS = "includes/estimate.jinja"
BUDGETS = ("max_cost_usd_month", "buy_usd_month")


@dataclass(frozen=True)
class Estimate:
    """One way to run a model of `model_mb`: p95 and count by place, USD a month together."""

    target: str
    model_mb: float
    latency_p95_ms: dict[str, float]
    units: dict[str, int]
    cost_usd_month: float

    def __str__(self) -> str:
        speed = " and ".join(f"{ms:.3g} ms on the {p}" for p, ms in self.latency_p95_ms.items())
        count = " and ".join(f"{n} {p}{'s' * (n > 1)}" for p, n in self.units.items())
        usd = f"{self.cost_usd_month:.0f} USD a month"
        return f"{self.model_mb:.2g} MB, p95 {speed}, {count}, {usd}"


class Estimator:
    """Answers questions about a scope from what was measured on the bundled networks."""

    def __init__(self, questions: Questions, answers: Mapping[str, Any]) -> None:
        settled, _ = questions.settle(dict(answers))
        settled.pop("package_name", None)  # with it, Copier's arithmetic believes in an update
        self.answers = settled
        try:
            self.rules: Any = questions.environment.get_template(MACROS).make_module(settled)
        except TemplateNotFound:
            raise Refusal(f"this template estimates nothing: it has no {MACROS}") from None

    @property
    def recommended(self) -> str:
        return str(self.rules.recommended())

    @property
    def basis(self) -> str:
        table, prices, it = self.rules.reference, self.rules.prices, self.rules.it
        return (
            f"Measured {table['measured_on']} on {table['machine']} with the bundled "
            f"{self.answers['modality']} network; larger ones by the measured slope, up to "
            f"{it['rule_off_by']:.0%} off, beyond {it['largest_mb']:.2g} MB a guess. "
            f"Prices of {prices['as_of']}: {prices['source']}."
        )

    def of(self, target: str, model_mb: float = 0) -> Estimate:
        """Estimate one target, for the bundled network or a larger one of its kind."""
        rules = self.rules
        return Estimate(
            target,
            max(model_mb, rules.it["model_mb"]),
            {place: float(rules.p95_ms(place, model_mb)) for place in rules.places[target]},
            {place: int(rules.units(place, model_mb)) for place in rules.places[target]},
            float(rules.usd(target, model_mb)),
        )

    def line(self) -> str:
        return str(self.of(self.answers["target"]))

    def table(self) -> Table:
        """Compare the targets, with the bundled network and with the largest that is allowed."""
        table = Table(title="What it would take", title_justify="left")
        for heading in ("target", "network MB", "p95 ms", "how many", "USD a month", ""):
            table.add_column(heading)
        for target in self.rules.places:
            for size_mb in (0, self.answers["max_model_mb"]):
                found = self.of(target, size_mb)
                table.add_row(
                    "" if size_mb else target,
                    f"{found.model_mb:.3g}",
                    ", ".join(f"{place} {ms:.3g}" for place, ms in found.latency_p95_ms.items()),
                    ", ".join(f"{place} {count}" for place, count in found.units.items()),
                    f"{found.cost_usd_month:.0f}",
                    self._remark(found, bool(size_mb)),
                )
        return table

    def _remark(self, found: Estimate, is_largest: bool) -> str:
        over = []
        if max(found.latency_p95_ms.values()) > self.answers["max_latency_p95_ms"]:
            over.append("too slow")
        if found.cost_usd_month > self.answers["max_cost_usd_month"]:
            over.append("over budget")
        if is_largest or over:
            return ", ".join(over)
        chosen = ["chosen"] * (found.target == self.answers["target"])
        return ", ".join(chosen + ["recommended"] * (found.target == self.recommended))


def cheapest_fix(questions: Questions, given: Mapping[Any, Any], problem: str) -> str:
    """Return the cheapest change that makes a budget possible, as the end of its refusal."""
    name = problem.partition(":")[0]
    if name not in BUDGETS or not fits(given[name], "float"):
        return ""
    least_usd: dict[str, float] = {}
    for target in Estimator(questions, given).rules.places:
        changed = {**given, "target": target}
        if not any(wrong.startswith("target:") for wrong in questions.settle(changed)[1]):
            least_usd[target] = float(Estimator(questions, changed).rules.least_usd(target))
    chosen = questions.settle(given)[0]["target"]
    if given[name] >= least_usd.get(chosen, 0):
        return ""
    cheapest = min(least_usd, key=lambda target: least_usd[target])
    change = [f"target: {cheapest}"] * (cheapest != chosen)
    change += [f"{name}: {least_usd[cheapest]:g}"] * (given[name] < least_usd[cheapest])
    return f"; cheapest change: {' and '.join(change)}"
