"""Evidence against promises: the one place where a model is refused."""

import json
import math
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from .artifacts import REPORTS, SHIPPED, read_report
from .cost import cost_usd_month
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
        """Whether the promise is kept; a value that is not a number keeps none."""
        if self.comparison == ">=":
            return self.observed >= self.limit
        return self.observed <= self.limit

    def __str__(self) -> str:
        verdict = "pass" if self.passed else "FAIL"
        return f"{verdict}  {self.name:<34} {self.observed:10.4g} {self.comparison} {self.limit:g}"


class Verdict(BaseModel, frozen=True, strict=True):
    """One object of `gates.json`, for those who judge it again."""

    id: str
    observed: float
    comparison: Literal[">=", "<="]
    limit: float
    where: str
    passed: bool

    def is_kept(self) -> bool:
        """Compare again: the flag alone proves nothing."""
        gate = Gate(self.id, "", self.observed, self.comparison, self.limit, self.where)
        return self.passed and gate.passed


def verdicts() -> list[Gate]:
    """Hold every promise of the scope against the evidence for it."""
    return [*_data_gates(), *_quality_gates(), *_parity_gates(), *_budget_gates()]


def _data_gates() -> list[Gate]:
    data = read_report("validate")
    conflicts, repeated = data["label_conflicts"], data["repeated_ids"]
    return [
        gate("leakage", "inputs in two splits", data["leaks"], "max_leaks"),
        gate("label_conflicts", "inputs with two labels", conflicts, "max_label_conflicts"),
        gate("repeated_ids", "repeated ids", repeated, "max_repeated_ids"),
    ]


def _quality_gates() -> list[Gate]:
    scope, quality = load_scope(), read_report("evaluate")
    if quality["metric"] != scope.metric:
        raise SystemExit(f"reports/evaluate.json is about {quality['metric']}. Run evaluate again.")
    gain = quality["baseline"]["gain_lower_bound"]
    beaten = gate("baseline_gain", f"gain over {scope.baseline}", gain, "min_gain_over_baseline")
    return [*quality_gates(quality), beaten]


def quality_gates(quality: dict[str, Any], by: str = "lower_bound") -> list[Gate]:
    """Hold what `quality.judge` found against the floor, as a whole and in the worst slice."""
    scope = load_scope()
    sure = f"{scope.confidence:.0%} sure" if by == "lower_bound" else by
    least = quality["score"][by]
    found = {name: score[by] for name, score in quality["slices"].items()}
    worst = min(found, key=lambda name: found[name])
    floor, at = scope.min_metric - scope.max_slice_gap, f"{SCOPE}: min_metric, max_slice_gap"
    return [
        gate("quality", f"{scope.metric} ({sure})", least, "min_metric"),
        Gate("worst_slice", f"worst slice: {worst[:16]} ({sure})", found[worst], ">=", floor, at),
    ]


def _parity_gates() -> list[Gate]:
    quality = read_report("evaluate")
    difference, same = read_report("export")["max_difference"], quality["agreement"]
    drop = quality["fp32"]["value"] - quality["score"]["value"]
    return [
        gate("onnx_parity", "PyTorch to ONNX, probability", difference, "max_onnx_difference"),
        gate("int8_parity", "answers like fp32", same, "min_int8_agreement"),
        gate("int8_drop", "metric lost to fp32", drop, "max_int8_drop"),
    ]


def _budget_gates() -> list[Gate]:
    speed, size_mb = read_report("benchmark"), read_report("compress").get("size_mb", math.nan)
    throughputs_per_s = {place: timing["throughput_per_s"] for place, timing in speed.items()}
    cost_usd = cost_usd_month(throughputs_per_s, load_scope().peak_requests_per_s)
    p95_ms = {place: timing["latency_p95_ms"] for place, timing in speed.items()}
    return [
        *(
            gate(f"latency_p95_{place}", f"latency p95 ms, {place}", ms, "max_latency_p95_ms")
            for place, ms in p95_ms.items()
        ),
        gate("model_size", "model size MB", size_mb, "max_model_mb"),
        gate("cost", "USD a month (prices.yaml)", cost_usd, "max_cost_usd_month"),
        gate("build_or_buy", "USD a month, against buying", cost_usd, "buy_usd_month"),
    ]


def gate(id: str, name: str, observed: float, key: str) -> Gate:
    """Hold a number against a key of the scope, whose name, min or max, says which way is good."""
    comparison = ">=" if key.startswith("min_") else "<="
    return Gate(id, name, observed, comparison, getattr(load_scope(), key), f"{SCOPE}: {key}")


def check() -> None:
    """Print every verdict, keep them in `reports/gates.json`, then fail once if any is broken.

    Raises:
        SystemExit: a promise is broken, or evidence is missing or about another model.
    """
    refuse_other_models()
    gates = verdicts()
    (REPORTS / "gates.json").write_text(json.dumps(as_rows(gates), indent=2) + "\n")
    print(*gates, sep="\n")
    refuse_broken(gates)


def refuse_other_models() -> None:
    """Stop when the evidence is not about the file that is shipped.

    Raises:
        SystemExit: the model is missing, or was made after it was judged.
    """
    try:
        shipped = sha256(SHIPPED.read_bytes()).hexdigest()
    except OSError:
        raise SystemExit(f"{SHIPPED} is missing. Run compress first.") from None
    judged = read_report("evaluate").get("model_sha256")
    if judged != shipped:
        which = f"the model {judged}, but {SHIPPED} has SHA-256 {shipped}"
        raise SystemExit(f"reports/evaluate.json is about {which}. Run evaluate again.")


def as_rows(gates: Sequence[Gate]) -> list[dict[str, Any]]:
    """Return what `reports/gates.json` holds."""
    return [gate._asdict() | {"passed": gate.passed} for gate in gates]


def refuse_broken(gates: Sequence[Gate]) -> None:
    """Stop when a promise is broken; each broken one is named.

    Raises:
        SystemExit: at least one is.
    """
    if not all(g.passed for g in gates):
        raise SystemExit(broken_promises(gates))


def broken_promises(gates: Sequence[Gate]) -> str:
    """Return the words for them: what was observed, the limit, where it is, who may loosen it."""
    broken = (
        f"\n  {g.id}: {g.observed:.4g}, not {g.comparison} {g.limit:g} ({g.where})"
        for g in gates
        if not g.passed
    )
    who = load_scope().decider or "a reviewer"
    return f"Broken promises, which only {who} may loosen:{''.join(broken)}"
