"""Evidence against promises: the one place where a model is refused."""

import json
from typing import Any, NamedTuple

from .artifacts import REPORTS, read_report
from .cost import PRICES, cost_usd_month
from .scope import SCOPE, load_scope


class Gate(NamedTuple):
    """One promise: what was measured, its limit, which way is good, and where the limit is."""

    id: str
    name: str
    observed: float
    comparison: str
    limit: float
    where: str

    @property
    def passed(self) -> bool:
        """Whether the promise is kept; a value that is not a number keeps nothing."""
        kept = self.observed >= self.limit, self.observed <= self.limit
        return kept[0] if self.comparison == ">=" else kept[1]

    def __str__(self) -> str:
        verdict = "pass" if self.passed else "FAIL"
        return f"{verdict}  {self.name:<34} {self.observed:10.4g} {self.comparison} {self.limit:g}"


def verdicts() -> list[Gate]:
    """Hold every promise of the scope against the evidence for it."""
    return [*_data_gates(), *_quality_gates(), *_parity_gates(), *_budget_gates()]


def _data_gates() -> list[Gate]:
    data = read_report("validate")
    rule = "data rule"
    return [
        Gate("leakage", "examples in two splits", data["leaks"], "<=", 0, rule),
        Gate("label_conflicts", "same input, two labels", data["label_conflicts"], "<=", 0, rule),
        Gate("repeated_ids", "repeated ids", data["repeated_ids"], "<=", 0, rule),
    ]


def _quality_gates() -> list[Gate]:
    scope, quality = load_scope(), read_report("evaluate")
    sure = f"{scope.confidence:.0%} sure"
    if quality["metric"] != scope.metric:
        raise SystemExit(f"reports/evaluate.json is about {quality['metric']}. Run evaluate again.")
    shipped = quality["int8"]["lower_bound"]
    bounds = {name: score["lower_bound"] for name, score in quality["slices"].items()}
    worst = min(bounds, key=lambda name: bounds[name])
    return [
        _at_least("quality", f"{scope.metric} ({sure})", shipped, "min_metric"),
        Gate(
            "worst_slice",
            f"worst slice, {worst[:12]} ({sure})",
            bounds[worst],
            ">=",
            scope.min_metric - scope.max_slice_gap,
            f"{SCOPE}: min_metric - max_slice_gap",
        ),
        _at_least(
            "baseline_gain",
            f"gain over {scope.baseline} baseline",
            quality["baseline"]["gain_lower_bound"],
            "min_gain_over_baseline",
        ),
    ]


def _parity_gates() -> list[Gate]:
    exported, quality = read_report("export"), read_report("evaluate")
    drop = quality["fp32"]["value"] - quality["int8"]["value"]
    difference = exported["max_probability_difference"]
    return [
        _at_most("onnx_parity", "PyTorch to ONNX, probability", difference, "max_onnx_difference"),
        _at_least(
            "int8_parity", "int8 answers like ONNX", quality["int8_agreement"], "min_int8_agreement"
        ),
        _at_most("int8_drop", "metric lost by int8", drop, "max_int8_drop"),
    ]


def _budget_gates() -> list[Gate]:
    scope, speed, size = load_scope(), read_report("benchmark"), read_report("quantize")
    throughputs = {place: numbers["throughput_per_s"] for place, numbers in speed.items()}
    latencies = [
        _at_most(
            f"latency_p95_{place}",
            f"latency p95 ms, {place}",
            numbers["latency_p95_ms"],
            "max_latency_p95_ms",
        )
        for place, numbers in speed.items()
    ]
    cost = cost_usd_month(throughputs, scope.peak_requests_per_s)
    return [
        *latencies,
        _at_most("model_size", "model size MB", size["int8_mb"], "max_model_mb"),
        _at_most("cost", f"USD a month ({PRICES})", cost, "max_cost_usd_month"),
    ]


def _at_least(id: str, name: str, observed: float, key: str) -> Gate:
    return Gate(id, name, observed, ">=", getattr(load_scope(), key), f"{SCOPE}: {key}")


def _at_most(id: str, name: str, observed: float, key: str) -> Gate:
    return Gate(id, name, observed, "<=", getattr(load_scope(), key), f"{SCOPE}: {key}")


def check() -> None:
    """Print every verdict, keep them in `reports/gates.json`, then fail once if any is broken.

    Raises:
        SystemExit: a promise is broken, or evidence is missing.
    """
    gates = verdicts()
    content: list[dict[str, Any]] = [gate._asdict() | {"passed": gate.passed} for gate in gates]
    (REPORTS / "gates.json").write_text(json.dumps(content, indent=2) + "\n")
    print(*gates, sep="\n")
    if broken := [gate for gate in gates if not gate.passed]:
        raise SystemExit("\n".join(["Broken promises:", *map(_sentence, broken)]))


def _sentence(gate: Gate) -> str:
    return f"  {gate.id}: {gate.observed:.4g}, not {gate.comparison} {gate.limit:g} ({gate.where})"
