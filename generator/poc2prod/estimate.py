"""Estimate the size, latency, number of servers or devices, and cost of a scope.

The arithmetic and the benchmarks are in `includes/`, because Copier uses them in its prompts, too.
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
# A valid answer beyond these is probably a typing error, like 200300 for 300.
MAX_PLAUSIBLE_RATIO = 10  # of a budget and the estimate
MIN_BUDGET_USD = 200  # budgets up to MAX_PLAUSIBLE_RATIO times this are never questioned
MAX_PLAUSIBLE_MS = 10_000
MAX_PLAUSIBLE_MB = 1000
MAX_PLAUSIBLE_UNITS = 1000


@dataclass(frozen=True)
class Estimate:
    """The p95 and the number of units per place, and the total cost, for a model of `model_mb`."""

    target: str
    model_mb: float
    latency_p95_ms: dict[str, float]
    units: dict[str, int]
    cost_usd_month: float

    def __str__(self) -> str:
        speed = " and ".join(f"{ms:.3g} ms on the {p}" for p, ms in self.latency_p95_ms.items())
        count = " and ".join(f"{n} {p}{'s' * (n > 1)}" for p, n in self.units.items())
        usd = f"{self.cost_usd_month:.0f} USD per month"
        return f"{self.model_mb:.2g} MB, p95 {speed}, {count}, {usd}"


class Estimator:
    """Estimates for one scope, from benchmarks of the bundled networks."""

    def __init__(self, questions: Questions, answers: Mapping[str, Any]) -> None:
        settled, _ = questions.settle(dict(answers))
        settled.pop("package_name", None)  # its presence means an update in includes/estimate.jinja
        self.answers = settled
        try:
            self.rules: Any = questions.environment.get_template(MACROS).make_module(settled)
        except TemplateNotFound:
            raise Refusal(f"this template has no estimates: {MACROS} is missing") from None

    @property
    def recommended(self) -> str:
        return str(self.rules.recommended())

    @property
    def basis(self) -> str:
        table, prices, it = self.rules.reference, self.rules.prices, self.rules.it
        return (
            f"Measured on {table['measured_on']} with the bundled {self.answers['modality']} "
            f"network on {table['machine']}. Larger networks are extrapolated: up to "
            f"{it['rule_off_by']:.0%} off, and a guess beyond {it['largest_mb']:.2g} MB. "
            f"Prices as of {prices['as_of']}: {prices['source']}."
        )

    def of(self, target: str, model_mb: float = 0) -> Estimate:
        """Estimate one target, for the bundled network or a larger version of it."""
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

    def summary(self) -> list[str]:
        """Describe the chosen target, with the bundled network and with the largest allowed."""
        target, lines = self.answers["target"], []
        for label, size_mb in (
            ("Estimate", 0),
            ("At the size limit", self.answers["max_model_mb"]),
        ):
            found = self.of(target, size_mb)
            over = self._exceeded(found)
            lines.append(f"{label}: {found}" + f" ({', '.join(over)})" * bool(over))
        if target != self.recommended:
            lines.append(f"Recommended target: {self.recommended}")
        return lines

    def doubt(self, name: str) -> str:
        """Return why a valid answer is probably a mistake; "" if it is plausible."""
        value, found = self.answers[name], self.of(self.answers["target"])
        usd = found.cost_usd_month
        if name in BUDGETS and value > MAX_PLAUSIBLE_RATIO * max(usd, MIN_BUDGET_USD):
            times = value / usd
            return f"{value:.12g} USD per month is {times:,.0f} times the estimate ({usd:.0f} USD)."
        if name == "max_latency_p95_ms" and value > MAX_PLAUSIBLE_MS:
            return f"{value:.12g} ms is {value / 1000:.3g} s for one prediction."
        if name == "max_model_mb" and value > MAX_PLAUSIBLE_MB:
            return f"{value:.12g} MB is {value / 1000:.3g} GB for one model file."
        if name == "peak_requests_per_s" and max(found.units.values()) > MAX_PLAUSIBLE_UNITS:
            count = " and ".join(f"{n:,} {place}s" for place, n in found.units.items())
            return f"{value:.12g} predictions per second need {count}."
        return ""

    def table(self) -> Table:
        """Compare the targets, with the bundled network and with the largest allowed."""
        table = Table(title="Estimate by target", title_justify="left")
        for heading in ("target", "network MB", "p95 ms", "count", "USD per month", ""):
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
        over = self._exceeded(found)
        if is_largest or over:
            return ", ".join(over)
        chosen = ["chosen"] * (found.target == self.answers["target"])
        return ", ".join(chosen + ["recommended"] * (found.target == self.recommended))

    def _exceeded(self, found: Estimate) -> list[str]:
        is_slow = max(found.latency_p95_ms.values()) > self.answers["max_latency_p95_ms"]
        is_over = found.cost_usd_month > self.answers["max_cost_usd_month"]
        return ["too slow"] * is_slow + ["over budget"] * is_over


def cheapest_fix(questions: Questions, given: Mapping[Any, Any], problem: str) -> str:
    """Return the cheapest change that makes a budget possible, as the end of an error message."""
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


def doubt(questions: Questions, given: Mapping[str, Any], name: str) -> str:
    """Return why a valid answer is probably a mistake; "" if it is plausible."""
    try:
        return Estimator(questions, given).doubt(name)
    except Refusal:  # a template without estimates
        return ""
