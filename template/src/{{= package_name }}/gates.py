"""Gates: compare measurements with the limits of `scope.yaml`. Only they reject a model."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ModelWrapValidatorHandler, computed_field, model_validator

from . import framework
from .artifacts import BASELINE_VARIANT, read_conversions, read_report
from .cost import cost_usd_month
from .problem import metrics, words
from .scope import SCOPE, load_scope

SLICE_SHOWN = 16  # characters of a slice: its name may be a long path, and a gate is one line


class Gate(BaseModel, frozen=True, strict=True):
    """A measured value, its limit, and where the limit is set.

    `reports/gates.json` is a list of these. Validation compares the numbers again and rejects a
    `passed` that contradicts them.
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
        """Whether the value meets the limit; NaN never does."""
        if self.comparison == ">=":
            return self.observed >= self.limit
        return self.observed <= self.limit

    @model_validator(mode="wrap")
    @classmethod
    def _compare_again(cls, value: Any, handler: ModelWrapValidatorHandler["Gate"]) -> "Gate":
        gate = handler(value)
        if isinstance(value, Mapping) and value.get("passed", gate.passed) is not gate.passed:
            raise ValueError(f"passed is {value['passed']!r}, but the numbers give {gate.passed}")
        return gate

    def __str__(self) -> str:
        word = "pass" if self.passed else "FAIL"
        return f"{word}  {self.name:<44} {self.observed:10.4g} {self.comparison} {self.limit:g}"


def gate(id: str, name: str, observed: float, key: str) -> Gate:
    """Compare a number with a limit of `scope.yaml`. Keys with `min_` are minimums.

    If `key` is a list, `first, second`, the others make the first easier to meet.
    """
    limit, *gaps = (getattr(load_scope(), part) for part in key.split(", "))
    is_minimum = key.startswith("min_")
    return Gate(
        id=id,
        name=name,
        observed=observed,
        comparison=">=" if is_minimum else "<=",
        limit=limit - sum(gaps) if is_minimum else limit + sum(gaps),
        where=f"{SCOPE}: {key}",
    )


def forbid(id: str, name: str, observed: float) -> Gate:
    """Return a gate whose limit is 0, for faults that are never acceptable."""
    return Gate(id=id, name=name, observed=observed, comparison="<=", limit=0, where="always")


def verdicts() -> list[Gate]:
    """Compare the measurements in `reports/` with every limit."""
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
    conflicts, copies = data["label_conflicts"], data.get("near_copy_share")
    failures, missing = data.get("contract_failures"), data.get("missing_labels")
    return [
        forbid("contract", "invalid examples", _number(failures)),
        forbid("split_labels", words.GATES["split_labels"], _number(missing)),
        gate("leakage", "inputs in more than one split", data["leaks"], "max_leaks"),
        gate("near_copies", "share with near copies", _number(copies), "max_near_copy_share"),
        gate("label_conflicts", words.GATES["label_conflicts"], conflicts, "max_label_conflicts"),
        gate("repeated_ids", "duplicate ids", data["repeated_ids"], "max_repeated_ids"),
    ]


def _number(value: float | None) -> float:
    """Return NaN, which fails every gate, for values that reports of older versions lack."""
    return math.nan if value is None else value


def _quality_gates() -> list[Gate]:
    scope = load_scope()
    quality = read_report("evaluate")
    if quality["metric"] != scope.metric:
        raise SystemExit(f"reports/evaluate.json is about {quality['metric']}. Run evaluate again.")
    gain = quality["baseline"]["gain_lower_bound"]
    name = f"gain over {scope.baseline} baseline, lower bound"
    better = gate("baseline_gain", name, gain, "min_gain_over_baseline")
    if read_report("compress").get("shipped") == BASELINE_VARIANT:
        better = forbid("baseline_shipped", "shipped model is worse than the baseline", 0)
    return [
        *quality_gates(quality),
        better,
        *(gate(*row) for row in metrics.more_gates(quality)),
    ]


def quality_gates(quality: dict[str, Any], by: str = metrics.BOUND) -> list[Gate]:
    """Compare the result of `metrics.measure` with its limits: in total and in the worst slice."""
    scope = load_scope()
    which = by.replace("_", " ")
    worst = worst_slice(quality, by)
    name = f"worst slice: {worst[:SLICE_SHOWN]}, {which}"
    observed = quality["slices"][worst][by]
    return [
        gate("quality", f"{scope.metric}, {which}", quality["score"][by], metrics.LIMIT),
        gate("worst_slice", name, observed, f"{metrics.LIMIT}, max_slice_gap"),
    ]


def worst_slice(quality: dict[str, Any], by: str = metrics.BOUND) -> str:
    """Return the name of the slice with the worst score."""
    slices: dict[str, dict[str, float]] = quality["slices"]
    return min(slices, key=lambda name: metrics.SIGN * slices[name][by])


def _export_gates() -> list[Gate]:
    export, quality = read_report("export", framework.STAGES[-1]), read_report("evaluate")
    weights, answers = export.get("nonfinite_weights"), quality.get("nonfinite_answers")
    difference, name = export["max_difference"], "original and ONNX model, difference"
    return [
        forbid("finite_weights", "NaN or infinite weights", _number(weights)),
        forbid("finite_answers", "NaN or infinite predictions", _number(answers)),
        gate("onnx_parity", name, difference, "max_onnx_difference"),
    ]


def _variant_gates() -> list[Gate]:
    """Compare the shipped variant with float32, and what `compress` measured, with their limits."""
    quality, compressed = read_report("evaluate"), read_report("compress")
    values = quality["fp32"]["value"], quality["score"]["value"]
    drop = metrics.drop(*values, load_scope())
    row = compressed.get("candidates", {}).get(compressed.get("shipped"), {})
    gap, p95_ms = _number(row.get("batch_gap")), _number(row.get("latency_p95_ms"))
    size_mb = _number(compressed.get("size_mb"))
    return [
        gate("int8_parity", "agreement with float32", quality["agreement"], "min_int8_agreement"),
        gate("int8_drop", words.GATES["int8_drop"], drop, "max_int8_drop"),
        gate("batch_parity", "alone and in a batch, difference", gap, "max_onnx_difference"),
        gate("latency_p95_network", "latency p95 of the network, ms", p95_ms, "max_latency_p95_ms"),
        gate("model_size", "model size, MB", size_mb, "max_model_mb"),
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
            gate(f"latency_p95_{place}", f"p95, {place}, timed here, ms", ms, "max_latency_p95_ms")
            for place, ms in p95_ms.items()
        ),
        gate("cost", "USD per month (prices.yaml)", cost_usd, "max_cost_usd_month"),
        gate("build_or_buy", "USD per month, compared with buying", cost_usd, "buy_usd_month"),
    ]


def _converted_gates() -> list[Gate]:
    """Compare the measurements of converted models with the current limits."""
    return [
        gate(row["id"], row["name"], row["observed"], row["where"].removeprefix(f"{SCOPE}: "))
        for row in read_conversions()
    ]


def refuse_broken(gates: Sequence[Gate]) -> None:
    """Stop if a limit is not met.

    Raises:
        SystemExit: at least one is not met; the message names each.
    """
    if not all(gate.passed for gate in gates):
        raise SystemExit(format_failures(gates))


def format_failures(gates: Sequence[Gate], notes: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return one line per failed gate, followed by its `notes`, which are keyed by gate id."""
    decider = load_scope().decider
    review = f"review by {decider}" if decider else "review"
    lines = [f"Limits not met (changing one needs {review}):"]
    for failed in (gate for gate in gates if not gate.passed):
        limit = f"{failed.comparison} {failed.limit:g} ({failed.where})"
        lines.append(f"  {failed.id}: {failed.observed:.4g}, limit {limit}")
        lines += [f"      {note}" for note in (notes or {}).get(failed.id, ())]
    return "\n".join(lines)
