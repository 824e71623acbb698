"""Compare the evidence in `reports/` with every limit, and say what was seen where one is not met.

As a stage of `dvc.yaml`, `check --record` writes `reports/gates.json` and succeeds, so that DVC
keeps weak models as well: an experiment that misses its limits is a result. `check` refuses them;
`make model`, CI and `release` depend on that one.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

from ..artifacts import REPORTS, read_report, refuse_other_models
from ..gates import Gate, format_failures, verdicts, worst_slice
from ..scope import load_scope

# A network that answers with the shares of the labels in the data is this close to equal
# probabilities where labels are about equally common.
NO_BETTER = 0.99


def check(record: bool = False) -> None:
    """Write `reports/gates.json`; print every gate, and stop if a limit is not met.

    With `record`, print one line and do not stop.

    Raises:
        SystemExit: a limit is not met, or evidence is missing or about another model.
    """
    refuse_other_models()
    gates = verdicts()
    rows = [gate.model_dump() for gate in gates]
    (REPORTS / "gates.json").write_text(json.dumps(rows, indent=2) + "\n")
    failed = [gate.id for gate in gates if not gate.passed]
    if record:
        print(f"{len(gates) - len(failed)} of {len(gates)} limits met.", *_names(failed))
        return
    print(*gates, sep="\n")
    if failed:
        raise SystemExit("\n".join([format_failures(gates, _notes(gates)), *_observations()]))
    print(f"All {len(gates)} limits met.")


def _names(failed: list[str]) -> list[str]:
    return [f"Not met: {', '.join(failed)} (`make model` says why)."] if failed else []


def _notes(gates: list[Gate]) -> dict[str, list[str]]:
    """Return what was measured, and on how much, by the id of the gate it explains."""
    quality, data = read_report("evaluate"), read_report("validate")
    scope = load_scope()
    baseline = quality["baseline"]
    worst = worst_slice(quality)
    limits = {gate.id: gate.limit for gate in gates}
    fields = data.get("contract_failures_by_field", {})
    compressed = read_report("compress")
    notes = {
        "contract": [f"{field}: {count} examples" for field, count in fields.items()],
        "split_labels": [f"missing: {', '.join(data.get('missing', []))}"],
        "quality": _score_notes(quality["score"], limits["quality"], scope.metric),
        "worst_slice": _score_notes(
            quality["slices"][worst], limits["worst_slice"], f"{scope.metric} of {worst}"
        ),
        "baseline_gain": _gain_notes(quality["score"], baseline, limits["baseline_gain"]),
        "finite_weights": [f"of {read_report('export').get('weights')} in models/model.onnx"],
        "finite_answers": [f"of {quality['score'].get('examples')} held-out examples"],
    }
    variant = [f"shipped: the variant {compressed.get('shipped')}", compressed.get("why")]
    for id in ("int8_parity", "int8_drop", "batch_parity", "latency_p95_network", "model_size"):
        notes[id] = [line for line in variant if line]
    drop = f"{scope.metric}: fp32 {quality['fp32']['value']:.4g}"
    notes["int8_drop"].append(f"{drop}, shipped {quality['score'].get('value', math.nan):.4g}")
    return notes


def _score_notes(score: dict[str, float], floor: float, name: str) -> list[str]:
    """Say what was measured; a floor above the ceiling asks for more examples, not for a model."""
    n = score.get("examples")
    bound = f"at least {score['lower_bound']:.4g} with {load_scope().confidence:.0%} confidence"
    notes = [f"{name} is {score.get('value', math.nan):.4g} on {n} examples, {bound}"]
    if (ceiling := score.get("ceiling", 1)) < floor:
        notes.append(f"{n} examples are too few: all of them right would show {ceiling:.4g}")
    return notes


def _gain_notes(score: dict[str, float], baseline: dict[str, float], least: float) -> list[str]:
    scope = load_scope()
    n = score.get("examples")
    values = f"{score.get('value', math.nan):.4g}, baseline {baseline.get('value', math.nan):.4g}"
    notes = [f"{scope.metric}: model {values}, on {n} examples"]
    if (ceiling := baseline.get("gain_ceiling", 1)) < least:
        notes.append(f"the baseline leaves no room: all answers right would show {ceiling:.4g}")
    return notes


def _observations() -> Iterator[str]:
    """Yield what was seen in training and in the answers that can explain a weak model."""
    seen = list(_seen_in_answers(read_report("evaluate")))
    if (REPORTS / "train.json").exists():
        seen += _seen_in_training(read_report("train"))
    if count := read_report("export").get("nonfinite_answers"):
        seen.append(f"models/model.onnx answers {count} held-out examples with NaN or infinity.")
    if seen:
        yield "What was seen:"
        yield from (f"  - {line}" for line in seen)


def _seen_in_answers(quality: dict[str, Any]) -> Iterator[str]:
    labels, confusion = quality.get("labels", []), quality.get("confusion", [])
    totals = [sum(column) for column in zip(*confusion, strict=True)]
    if sum(total > 0 for total in totals) == 1 < len(labels):
        label = labels[totals.index(sum(totals))]
        yield f"One label is always answered: {label}, for all {sum(totals)} held-out examples."


def _seen_in_training(training: dict[str, Any]) -> Iterator[str]:
    losses = training["curve"]["validation_loss"]
    best = min((loss for loss in losses if math.isfinite(loss)), default=math.nan)
    epoch = training.get("best_epoch", losses.index(best) + 1 if best in losses else 0)
    first, last = (training["curve"]["training_loss"][i] for i in (0, -1))
    if epoch == 1 < len(losses):
        yield (
            f"Validation loss never improved: {best:.4g} after epoch 1 of {len(losses)} is its"
            f" lowest, while training loss went from {first:.4g} to {last:.4g}."
        )
    guess = math.log(len(training["labels"]))
    if best > NO_BETTER * guess:
        yield (
            f"Nothing was learned: the lowest validation loss, {best:.4g} after epoch {epoch}, is"
            f" about that of equal probabilities for every label ({guess:.4g})."
        )
