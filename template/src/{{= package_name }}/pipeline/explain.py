"""Explain limits that are not met: what was measured, on how many examples, and what would help."""

import math
from collections.abc import Iterator
from typing import Any

from ..artifacts import read_report
from ..framework import SIMPLER
from ..gates import Gate, worst_slice
from ..problem import metrics, words
from ..scope import load_scope
from .summary import optional_report

HELD_OUT = 0.2  # share of the examples in the test split, see `splitting/divide.py`


def explain_gates(gates: list[Gate]) -> dict[str, list[str]]:
    """Return notes by gate id: measurements, number of examples and advice."""
    quality = read_report("evaluate")
    scope = load_scope()
    worst = worst_slice(quality)
    limits = {gate.id: gate.limit for gate in gates}
    compressed = read_report("compress")
    notes = _data_notes() | {
        "quality": _score_notes(quality["score"], limits["quality"], scope.metric),
        "worst_slice": _score_notes(
            quality["slices"][worst], limits["worst_slice"], f"{scope.metric} of slice {worst}"
        ),
        "finite_weights": [f"of {read_report('export').get('weights')} in models/model.onnx"],
        "finite_answers": [f"of {quality['score'].get('examples')} held-out examples"],
    }
    for id, (name, score) in metrics.more_scores(quality).items():
        notes[id] = _score_notes(score, limits[id], f"{scope.metric} of {name}")
    if "baseline_gain" in limits:  # not if the baseline is shipped
        notes["baseline_gain"] = _gain_notes(quality, limits["baseline_gain"])
    variant = [f"shipped variant: {compressed.get('shipped')}", compressed.get("why")]
    for id in ("int8_parity", "int8_drop", "batch_parity", "latency_p95_network", "model_size"):
        notes[id] = [line for line in variant if line]
    drop = f"{scope.metric}: float32 {quality['fp32']['value']:.4g}"
    notes["int8_drop"].append(f"{drop}, shipped {quality['score'].get('value', math.nan):.4g}")
    if len(quality["slices"]) == 1:
        notes["worst_slice"] = ["there is only one slice, with all examples: see quality"]
    return notes


def _data_notes() -> dict[str, list[str]]:
    """Name the problems of the data; `validate` records a few ids of each kind."""
    data = read_report("validate")
    fields = data.get("contract_failures_by_field", {})
    limits = "schema.yaml" if load_scope().modality == "tabular" else "task/contract.py"
    invalid = [f"{field}: {count} examples" for field, count in fields.items()]
    return {
        "contract": [*invalid, f"{limits} defines what is valid"] if invalid else [],
        "split_labels": [f"missing: {', '.join(data.get('missing', []))}"],
        "leakage": [f"one input: {ids}" for ids in data.get("leaked_examples", [])],
        "near_copies": _near_copy_notes(data),
        "label_conflicts": [f"one input: {ids}" for ids in data.get("conflicting_examples", [])],
        "repeated_ids": [f"more than once: {id}" for id in data.get("repeated_examples", [])],
    }


def _near_copy_notes(data: dict[str, Any]) -> list[str]:
    count, compared = data.get("near_copies", 0), data.get("near_copies_compared", 0)
    pairs = [f"near copies: {ids}" for ids in data.get("near_copied_examples", [])]
    return [f"{count} of {compared} held-out inputs", *pairs]


def _score_notes(score: dict[str, Any], limit: float, name: str) -> list[str]:
    n, value = score.get("examples", 0), score.get("value", math.nan)
    bound = score[metrics.BOUND]
    notes = [f"{name} is {value:.4g} on {n} held-out examples; {_bound(bound)}"]
    if (ceiling := score.get("ceiling", math.inf)) < limit:
        perfect = f"even a perfect model would have a lower bound of {ceiling:.4g}"
        notes.append(f"{n} examples are too few: {perfect}")
    return notes + _what_helps(metrics.NAME, n, value, bound, limit, metrics.SIGN)


def _gain_notes(quality: dict[str, Any], limit: float) -> list[str]:
    scope = load_scope()
    score, baseline = quality["score"], quality["baseline"]
    n, bound = score.get("examples", 0), baseline["gain_lower_bound"]
    value, simple = score.get("value", math.nan), baseline.get("value", math.nan)
    values = f"model {value:.4g}, {scope.baseline} baseline {simple:.4g}"
    notes = [
        f"{scope.metric}: {values}, on {n} held-out examples;"
        f" {_bound(bound, 'lower_bound')} of the gain"
    ]
    ceiling = baseline.get("gain_ceiling", 1)
    if ceiling >= limit:
        return notes + _what_helps("gain", n, metrics.gain(value, simple), bound, limit, 1)
    return [
        *notes,
        f"no model can pass: even a perfect one has a gain with lower bound {ceiling:.4g}",
        "options: more or harder held-out examples"
        if scope.baseline == words.CONSTANT_BASELINE
        else f"options: `baseline: {words.CONSTANT_BASELINE}` in scope.yaml, then keep this model,"
        f" or ship the simple one {SIMPLER}",
    ]


def _bound(value: float, kind: str = metrics.BOUND) -> str:
    return f"{kind.replace('_', ' ')} {value:.4g} ({load_scope().confidence:.0%} confidence)"


def _what_helps(
    what: str, n: int, value: float, bound: float, limit: float, sign: int
) -> list[str]:
    """Advise; `sign` is -1 if lower values are better."""
    if math.isnan(value):
        return []
    if sign * value <= sign * limit:
        advice = "improve the model; more held-out examples alone will not help"
        return [f"the {what} is {'below' if sign > 0 else 'above'} the limit: {advice}"]
    if not n or sign * bound >= sign * limit:
        return []
    needed = estimate_examples(n, value, bound, limit)
    total = _round(needed / HELD_OUT)
    count = f"about {_round(needed):,} held-out examples would be needed at this {what}"
    return [f"{count} (about {total:,} in all: {HELD_OUT:.0%} are held out)"]


def estimate_examples(n: int, value: float, bound: float, limit: float) -> float:
    """Return on how many examples this value would have a bound at the limit.

    The distance between value and bound shrinks with the square root of n; for a perfect score,
    with n.
    """
    ratio = (value - bound) / (value - limit)
    return n * ratio if value >= 1 else n * ratio**2


def _round(number: float) -> int:
    """Round up to two digits: the estimate is not more precise."""
    step: int = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return math.ceil(number / step) * step


def explain_model() -> Iterator[str]:
    """Yield possible reasons for a weak model, from training and predictions."""
    seen = list(words.explain_predictions(read_report("evaluate")))
    if "curve" in (training := optional_report("train")):
        seen += _explain_training(training)
    if count := read_report("export").get("nonfinite_answers"):
        seen.append(f"models/model.onnx returns NaN or infinity for {count} held-out examples.")
    if seen:
        yield "Possible reasons:"
        yield from (f"  - {line}" for line in seen)


def _explain_training(training: dict[str, Any]) -> Iterator[str]:
    losses = training["curve"]["validation_loss"]
    best = min((loss for loss in losses if math.isfinite(loss)), default=math.nan)
    epoch = training.get("best_epoch", losses.index(best) + 1 if best in losses else 0)
    first, last = (training["curve"]["training_loss"][i] for i in (0, -1))
    if epoch == 1 < len(losses):
        yield (
            f"The validation loss never improved: its minimum is {best:.4g}, after epoch 1 of"
            f" {len(losses)}, while the training loss went from {first:.4g} to {last:.4g}."
        )
    yield from words.explain_loss(training, best, epoch)
