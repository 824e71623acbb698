"""Gates: each measured value, compared with its limit. Only here is a model refused."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ModelWrapValidatorHandler, computed_field, model_validator

from .artifacts import read_conversions, read_report
from .cost import cost_usd_month
from .scope import SCOPE, load_scope

SLICE_SHOWN = 16  # characters: the name of a slice may be a long path, and a gate is one line


class Gate(BaseModel, frozen=True, strict=True):
    """One limit: what was observed, which side of the limit is good, and where the limit is set.

    An object of `reports/gates.json` is a dump of this. Reading it compares the numbers again and
    refuses a `passed` that disagrees with them.
    """

    id: str
    name: str
    observed: float
    comparison: Literal[">=", "<="]
    limit: float
    where: str

    @computed_field  # type: ignore[prop-decorator]
    @property
    def passed(self) -> bool:
        """False for NaN, which compares as false with every limit."""
        if self.comparison == ">=":
            return self.observed >= self.limit
        return self.observed <= self.limit

    @model_validator(mode="wrap")
    @classmethod
    def _compare_again(cls, value: Any, handler: ModelWrapValidatorHandler["Gate"]) -> "Gate":
        gate = handler(value)
        if isinstance(value, Mapping) and value.get("passed", gate.passed) is not gate.passed:
            raise ValueError(f"passed is {value['passed']!r}, but the numbers say {gate.passed}")
        return gate

    def __str__(self) -> str:
        word = "pass" if self.passed else "FAIL"
        return f"{word}  {self.name:<34} {self.observed:10.4g} {self.comparison} {self.limit:g}"


def gate(id: str, name: str, observed: float, key: str) -> Gate:
    """Compare a number with a limit of `scope.yaml`; `min_` or `max_` in its key is the direction.

    Where `key` names several, the limit is the first less the others.
    """
    limit, *less = (getattr(load_scope(), part) for part in key.split(", "))
    return Gate(
        id=id,
        name=name,
        observed=observed,
        comparison=">=" if key.startswith("min_") else "<=",
        limit=limit - sum(less),
        where=f"{SCOPE}: {key}",
    )


def forbid(id: str, name: str, observed: float) -> Gate:
    """Return a gate that only 0 passes, for faults that are never acceptable."""
    return Gate(id=id, name=name, observed=observed, comparison="<=", limit=0, where="always")


def verdicts() -> list[Gate]:
    """Compare the evidence in `reports/` with every limit."""
    return [
        *_data_gates(),
        *_quality_gates(),
        *_export_gates(),
        *_variant_gates(),
        *_use_gates(),
        *_converted_gates(),
    ]


def _data_gates() -> list[Gate]:
    data = read_report("validate")
    conflicts, repeated = data["label_conflicts"], data["repeated_ids"]
    failures, missing = data.get("contract_failures"), data.get("missing_labels")
    return [
        forbid("contract", "examples breaking the contract", _number(failures)),
        forbid("split_labels", "labels missing in a split", _number(missing)),
        gate("leakage", "inputs in two splits", data["leaks"], "max_leaks"),
        gate("label_conflicts", "inputs with two labels", conflicts, "max_label_conflicts"),
        gate("repeated_ids", "repeated ids", repeated, "max_repeated_ids"),
    ]


def _number(value: float | None) -> float:
    """Return NaN, which passes no gate, for evidence that an older release did not leave."""
    return math.nan if value is None else value


def _quality_gates() -> list[Gate]:
    scope = load_scope()
    quality = read_report("evaluate")
    if quality["metric"] != scope.metric:
        raise SystemExit(f"reports/evaluate.json is about {quality['metric']}. Run evaluate again.")
    gain = quality["baseline"]["gain_lower_bound"]
    name = f"gain over {scope.baseline}"
    return [*quality_gates(quality), gate("baseline_gain", name, gain, "min_gain_over_baseline")]


def quality_gates(quality: dict[str, Any], by: str = "lower_bound") -> list[Gate]:
    """Compare what `quality.measure` returned, in total and in the worst slice, with its limits."""
    scope = load_scope()
    sure = f"{scope.confidence:.0%} sure" if by == "lower_bound" else by
    worst = worst_slice(quality, by)
    name = f"worst slice: {worst[:SLICE_SHOWN]} ({sure})"
    observed = quality["slices"][worst][by]
    return [
        gate("quality", f"{scope.metric} ({sure})", quality["score"][by], "min_metric"),
        gate("worst_slice", name, observed, "min_metric, max_slice_gap"),
    ]


def worst_slice(quality: dict[str, Any], by: str = "lower_bound") -> str:
    """Return the name of the slice with the lowest score."""
    slices: dict[str, dict[str, float]] = quality["slices"]
    return min(slices, key=lambda name: slices[name][by])


def _export_gates() -> list[Gate]:
    export, quality = read_report("export"), read_report("evaluate")
    weights, answers = export.get("nonfinite_weights"), quality.get("nonfinite_answers")
    difference = export["max_difference"]
    return [
        forbid("finite_weights", "weights that are NaN or infinite", _number(weights)),
        forbid("finite_answers", "answers that are NaN or infinite", _number(answers)),
        gate("onnx_parity", "PyTorch to ONNX, probability", difference, "max_onnx_difference"),
    ]


def _variant_gates() -> list[Gate]:
    """What `compress` chose: like fp32 on the test split, and what only `compress` can measure."""
    quality, compressed = read_report("evaluate"), read_report("compress")
    drop = quality["fp32"]["value"] - quality["score"]["value"]
    row = compressed.get("candidates", {}).get(compressed.get("shipped"), {})
    gap, p95_ms = _number(row.get("batch_gap")), _number(row.get("latency_p95_ms"))
    size_mb = _number(compressed.get("size_mb"))
    return [
        gate("int8_parity", "answers like fp32", quality["agreement"], "min_int8_agreement"),
        gate("int8_drop", "metric lost to fp32", drop, "max_int8_drop"),
        gate("batch_parity", "alone and in a batch", gap, "max_onnx_difference"),
        gate("latency_p95_network", "latency p95 ms, network", p95_ms, "max_latency_p95_ms"),
        gate("model_size", "model size MB", size_mb, "max_model_mb"),
    ]


def _use_gates() -> list[Gate]:
    speed = read_report("benchmark")
    throughputs_per_s = {place: timing["throughput_per_s"] for place, timing in speed.items()}
    cost_usd = cost_usd_month(throughputs_per_s, load_scope().peak_requests_per_s)
    p95_ms = {place: timing["latency_p95_ms"] for place, timing in speed.items()}
    failures = {place: _number(timing.get("failures")) for place, timing in speed.items()}
    return [
        *(
            forbid(f"failures_{place}", f"failed requests, {place}", count)
            for place, count in failures.items()
        ),
        *(
            gate(f"latency_p95_{place}", f"p95 ms, {place}, timed here", ms, "max_latency_p95_ms")
            for place, ms in p95_ms.items()
        ),
        gate("cost", "USD a month (prices.yaml)", cost_usd, "max_cost_usd_month"),
        gate("build_or_buy", "USD a month, against buying", cost_usd, "buy_usd_month"),
    ]


def _converted_gates() -> list[Gate]:
    """Compare what was observed of converted models with the limits of today."""
    return [
        gate(row["id"], row["name"], row["observed"], row["where"].removeprefix(f"{SCOPE}: "))
        for row in read_conversions()
    ]


def refuse_broken(gates: Sequence[Gate]) -> None:
    """Stop when a limit is not met.

    Raises:
        SystemExit: at least one is not; each is named.
    """
    if not all(gate.passed for gate in gates):
        raise SystemExit(format_failures(gates))


def format_failures(gates: Sequence[Gate], notes: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return one line per failed gate, with its notes below it; `notes` are by the gate's id."""
    decider = load_scope().decider
    review = f"review by {decider}" if decider else "review"
    lines = [f"Limits not met (changing one needs {review}):"]
    for failed in (gate for gate in gates if not gate.passed):
        limit = f"{failed.comparison} {failed.limit:g} ({failed.where})"
        lines.append(f"  {failed.id}: {failed.observed:.4g}, limit {limit}")
        lines += [f"      {note}" for note in (notes or {}).get(failed.id, ())]
    return "\n".join(lines)
