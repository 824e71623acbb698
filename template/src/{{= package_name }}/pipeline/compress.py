"""Write smaller or faster variants of the ONNX file, and ship the best that meets all limits.

The best is the smallest or the fastest one, whichever the target pays for. The linear baseline is
shipped if it meets all limits and the model is not better by `min_gain_over_baseline`. If no
variant meets all limits, the closest one is shipped, with the reason in `reports/compress.json`:
later stages can then report on it, and `check` rejects it.
"""

import math
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from ..artifacts import BASELINE_VARIANT, ONNX, SHIPPED, write_report
from ..atomic import to_json, write_atomic
from ..bounds import share_lower_bound
from ..gates import Gate, gate, quality_gates
from ..predictor import Predictor
from ..problem import answer, metrics, words
from ..scope import Scope, load_scope
from ..target.keys import CHEAPEST_BY
from . import baseline, quantize
from .footprint import Network, footprint
from .more_variants import more_variants
from .splits import load_split, require_head

# Among files within 1 % of the smallest, the most accurate one is shipped: metadata alone can make
# a difference of that size. Times vary from run to run: those within 10 % count as equal.
ABOUT_AS_GOOD = {"size_mb": 1.01, "latency_p50_ms": 1.1}
UNKNOWN = "0" * 64  # same length as the hash that replaces it, to keep the measured size
BATCH = 32  # examples, predicted singly and together; larger than any batch in production
_BOUND = metrics.BOUND.replace("_", " ")
Row = dict[str, Any]


def variants() -> dict[str, Callable[[Path], None]]:
    """Return the functions that write a variant, by name."""
    made = {**quantize.variants(), **more_variants()}
    if load_scope().baseline != words.CONSTANT_BASELINE:
        made[BASELINE_VARIANT] = baseline.write_baseline
    return made


def compress() -> None:
    """Measure every variant on the validation split, and ship the best that meets all limits.

    The test split is for `evaluate` alone: scores on the split used for selection are too high.

    Raises:
        SystemExit: no variant could be written and run; the message gives the reasons. Or the
            exported model has other labels than the features.
    """
    SHIPPED.unlink(missing_ok=True)
    exported = Predictor(ONNX)
    require_head(ONNX, exported.head)
    scope = load_scope()
    makers = variants()
    with TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.onnx" for name in makers}
        rows = {
            name: _try_variant(files[name], write, exported, scope)
            for name, write in track(makers.items(), "Measuring variants", total=len(makers))
        } | quantize.NOT_TRIED
        shipped, why = _choose(rows)
        report: Row = {"shipped": shipped, "fits": not why, "why": why, "candidates": rows}
        if (gain := _network_gain(rows)) is not None:
            report["gain_over_baseline"] = gain
        if shipped:
            report["size_mb"] = rows[shipped]["size_mb"]
            _stamp(files[shipped], sha256(to_json(rows[shipped])).hexdigest())
            write_atomic(SHIPPED, files[shipped].read_bytes())
    write_report("compress", report)
    Console(width=150).print(table(rows, shipped))
    if not shipped:
        raise SystemExit(why)
    print(f"Shipped: {shipped}. {why or _describe_quality(rows[shipped])}")
    if shipped == BASELINE_VARIANT:
        needed = f"min_gain_over_baseline: {scope.min_gain_over_baseline:g} in scope.yaml"
        print(f"On the validation split, the float32 model gains {gain:.4g} over it ({needed}).")


def _describe_quality(row: Row) -> str:
    if _is_proven(row):
        return "It meets all limits."
    score = row["score"]
    return (
        f"Its score meets all limits, but {score['examples']} validation examples do not prove its"
        f" quality: the {_BOUND} is {score[metrics.BOUND]:.4g}, the limit"
        f" {getattr(load_scope(), metrics.LIMIT):g}. `check` compares the {_BOUND} on the test"
        " split."
    )


def _is_proven(row: Row) -> bool:
    """Whether the bound on the validation split alone meets the limit of the metric."""
    return gate("quality", "", row["score"][metrics.BOUND], metrics.LIMIT).passed


def variant_gates(row: Row) -> list[Gate]:
    """Compare a variant with its limits. `benchmark` measures the latency of whole predictions.

    Quality is compared without lower bounds: the validation split is half as large as the test
    split, and lower bounds of its slices would reject good variants.
    """
    agreement = row["same_lower_bound"]
    drop = row["drop_upper_bound"]
    gap = row["batch_gap"]
    return [
        *quality_gates(row, "value"),
        gate("int8_parity", "agreement with float32", agreement, "min_int8_agreement"),
        gate("int8_drop", words.GATES["int8_drop"], drop, "max_int8_drop"),
        gate(
            "latency_p95_network",
            "latency p95 of the network, ms",
            row["latency_p95_ms"],
            "max_latency_p95_ms",
        ),
        gate("model_size", "model size, MB", row["size_mb"], "max_model_mb"),
        gate("batch_parity", "alone and in a batch, difference", gap, "max_onnx_difference"),
        *(gate(*more) for more in metrics.more_gates(row, "value")),
    ]


def measure_quality(variant: Network, exported: Predictor, scope: Scope) -> Row:
    """Measure the quality of a variant, and its agreement with the exported model."""
    x, truth, slices = load_split("validation")
    outputs, expected = variant.outputs(x), exported.outputs(x)
    head = exported.head
    is_same = answer.agree(outputs, expected, head, scope)
    return metrics.measure(truth, outputs, expected, slices, head, scope) | {
        # Bounds: a variant that agrees by chance would fail on the test split.
        "same_lower_bound": share_lower_bound(is_same, scope.confidence),
        "drop_upper_bound": metrics.drop_upper_bound(truth, outputs, expected, head, scope),
        "max_difference": answer.difference(outputs, expected, head),
        "batch_gap": _batch_gap(variant, x[:BATCH], head),
    }


def _batch_gap(variant: Network, x: np.ndarray, head: answer.Head) -> float:
    """Return by how much answers depend on the other examples in the batch.

    Dynamic quantization uses one range for the whole batch.
    """
    alone = np.concatenate([variant.outputs(row[None]) for row in x])
    return answer.difference(variant.outputs(x), alone, head)


def _try_variant(
    path: Path, write: Callable[[Path], None], exported: Predictor, scope: Scope
) -> Row:
    """Write and measure one variant; failures are recorded, and do not stop the others."""
    try:
        write(path)
        _stamp(path, UNKNOWN)
        is_baseline = path.stem == BASELINE_VARIANT  # another model, to be compared with itself
        written = Predictor(path)
        row = measure_quality(written, written if is_baseline else exported, scope)
        row |= {"size_mb": path.stat().st_size / 1e6} | footprint(path)
    except (Exception, SystemExit) as error:  # converters raise any exception
        return {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}
    return row | {"broken": [g.id for g in variant_gates(row) if not g.passed]}


def _stamp(path: Path, evidence_sha256: str) -> None:
    """Add the metadata of the exported file, the variant, and the hash of its measurements."""
    model = onnx.load(path)
    source = model if path.stem == BASELINE_VARIANT else onnx.load(ONNX, load_external_data=False)
    known = {p.key: p.value for p in source.metadata_props}
    named = {"candidate": path.stem, "evidence_sha256": evidence_sha256}
    onnx.helper.set_model_props(model, known | named)
    onnx.save(model, path)


def _choose(rows: dict[str, Row]) -> tuple[str | None, str]:
    """Return the variant to ship, or None, and the reason if no variant meets all limits."""
    measured = {name: row for name, row in rows.items() if "broken" in row}
    if not measured:
        failures = "".join(f"\n  {n}: {row.get('failed', 'not run')}" for n, row in rows.items())
        return None, f"No variant of {ONNX} could be written and run:{failures}"
    fitting = {name: row for name, row in measured.items() if not row["broken"]}
    simple, gain = fitting.pop(BASELINE_VARIANT, None), _network_gain(rows)
    needed = load_scope().min_gain_over_baseline
    if simple and (not fitting or gain is None or gain < needed):
        return BASELINE_VARIANT, ""
    if not fitting:
        networks = {name: row for name, row in measured.items() if name != BASELINE_VARIANT}
        nearest = min(
            networks or measured, key=lambda name: _distance(variant_gates(measured[name]))
        )
        missed = ", ".join(measured[nearest]["broken"])
        return nearest, f"No variant meets all limits; the closest, {nearest}, misses {missed}."
    for key in (CHEAPEST_BY, "size_mb"):
        fitting = _near_lowest(fitting, key)
    bounds = {name: metrics.SIGN * rows[name]["score"][metrics.BOUND] for name in fitting}
    return max(fitting, key=lambda name: (bounds[name], rows[name]["agreement"])), ""


def _network_gain(rows: dict[str, Row]) -> float | None:
    """Return the gain of the exported model over the baseline; None without either."""
    row, simple = rows.get("fp32", {}), rows.get(BASELINE_VARIANT, {})
    if "broken" not in row or "broken" not in simple:
        return None
    return metrics.gain(row["score"]["value"], simple["score"]["value"])


def _near_lowest(rows: dict[str, Row], key: str) -> dict[str, Row]:
    """Return the rows whose value is about as good as the lowest one."""
    highest = ABOUT_AS_GOOD[key] * min(row[key] for row in rows.values())
    return {name: row for name, row in rows.items() if row[key] <= highest}


def _distance(gates: list[Gate]) -> tuple[int, float]:
    """Return the number of missed limits, and the sum of their relative distances."""
    failed = [gate for gate in gates if not gate.passed]
    far = sum(abs(gate.observed - gate.limit) / (abs(gate.limit) or 1) for gate in failed)
    return len(failed), math.inf if math.isnan(far) else far


def table(rows: dict[str, Row], shipped: str | None) -> Table:
    """Return a table of all measurements; those that miss a limit are red."""
    drawn = Table(title="On the validation split", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    headings = (metrics.NAME, _BOUND, "worst slice", "agreement", "drop", "difference", "batch")
    for heading in ("variant", *headings, "p50 ms", "p95 ms", "MB", "peak MB", "verdict"):
        drawn.add_column(heading, no_wrap=heading == "variant")
    for name, row in rows.items():
        if why := row.get("failed") or row.get("not_run"):
            size = f"{row['size_mb']:.4g}" if "size_mb" in row else ""
            verdict = f"failed: {why}" if "failed" in row else why
            drawn.add_row(name, *[""] * 9, size, "", escape(verdict))
            continue
        quality, worst, agreement, drop, p95, size, gap, *_ = (
            f"{g.observed:.4g}" if g.passed else f"[red]{g.observed:.4g}[/red]"
            for g in variant_gates(row)
        )
        least = f"{row['score'][metrics.BOUND]:.4g}"
        differs = f"{row['max_difference']:.2g}"
        measured = quality, least, worst, agreement, drop, differs
        p50, peak = f"{row['latency_p50_ms']:.3g}", f"{row['peak_memory_mb']:.0f}"
        verdict = _verdict(name == shipped, row, rows.get("fp32", row))
        drawn.add_row(name, *measured, gap, p50, p95, size, peak, verdict)
    return drawn


def _verdict(is_shipped: bool, row: Row, fp32: Row) -> str:
    words = ["shipped"] if is_shipped else []
    if row["broken"]:
        words.append(f"misses {', '.join(row['broken'])}")
    slower = row["latency_p50_ms"] > fp32.get("latency_p50_ms", math.inf)
    if slower and row["size_mb"] < fp32["size_mb"]:
        words.append("smaller, not faster")
    if not row["broken"] and not _is_proven(row):
        words.append("unproven quality")
    return "; ".join(words) or "fits"
