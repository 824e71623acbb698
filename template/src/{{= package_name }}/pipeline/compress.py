"""An ONNX file in, the smallest file that keeps every promise out, or what would have to give."""

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from ..artifacts import ONNX, SHIPPED, to_json, write_report, write_whole
from ..gates import Gate, broken_promises, gate, quality_gates
from ..predictor import Predictor
from ..scope import Scope, load_scope
from .compare import compared
from .distill import STUDENTS
from .footprint import footprint
from .quantize import CANDIDATES

SAME_SIZE = 1.01  # files that differ by less are as small as each other: the better one wins
UNKNOWN = "0" * 64  # as long as the hash that replaces it: the size that is measured is shipped
ALL = CANDIDATES | STUDENTS
Row = dict[str, Any]


def compress() -> None:
    """Measure every candidate on the validation split, and ship the smallest that will do.

    The test split is left to `evaluate`: whoever chooses by it cannot judge by it.

    Raises:
        SystemExit: none keeps every promise; what is broken, and limits that would fit, are named.
    """
    SHIPPED.unlink(missing_ok=True)
    exported, scope = Predictor(ONNX), load_scope()
    with TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.onnx" for name in ALL}
        found = track(ALL.items(), "Measuring candidates", total=len(ALL))
        rows = {name: _measured(files[name], write, exported, scope) for name, write in found}
        shipped = _chosen(rows)
        evidence = {"shipped": shipped, "candidates": rows}
        if shipped:
            evidence["size_mb"] = rows[shipped]["size_mb"]
            _stamp(files[shipped], sha256(to_json(rows[shipped])).hexdigest())
            write_whole(SHIPPED, files[shipped].read_bytes())
    write_report("compress", evidence)
    Console(width=150).print(table(rows, shipped))
    if not shipped:
        raise SystemExit(_what_would_fit(rows))


def promises(row: Row) -> list[Gate]:
    """Hold one candidate against what can be judged of it; the whole prediction is timed later.

    Quality is held as it is found: the validation split is too small for bounds on each slice,
    which `evaluate` has from the test split.
    """
    same, drop, p95_ms = row["same_lower_bound"], row["drop_upper_bound"], row["latency_p95_ms"]
    return [
        *quality_gates(row, "value"),
        gate("int8_parity", "answers like fp32", same, "min_int8_agreement"),
        gate("int8_drop", "metric lost to fp32", drop, "max_int8_drop"),
        gate("latency_p95_network", "latency p95 ms, network", p95_ms, "max_latency_p95_ms"),
        gate("model_size", "model size MB", row["size_mb"], "max_model_mb"),
        gate("batch_parity", "alone and in a batch", row["batch_gap"], "max_onnx_difference"),
    ]


def _measured(path: Path, write: Callable[[Path], None], exported: Predictor, scope: Scope) -> Row:
    """Write one candidate and measure it; what cannot be made or run is no reason to stop."""
    try:
        write(path)
        _stamp(path, UNKNOWN)
        row = compared(Predictor(path), exported, scope) | {"size_mb": path.stat().st_size / 1e6}
        row |= footprint(path)
    except (Exception, SystemExit) as error:  # converters raise anything
        return {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}
    return row | {"broken": [g.id for g in promises(row) if not g.passed]}


def _stamp(path: Path, evidence_sha256: str) -> None:
    """Say in the file what the exported one says, which candidate it is, and by what evidence."""
    model = onnx.load(path)
    said = {p.key: p.value for p in onnx.load(ONNX, load_external_data=False).metadata_props}
    named = {"candidate": path.stem, "evidence_sha256": evidence_sha256}
    onnx.helper.set_model_props(model, said | named)
    onnx.save(model, path)


def _chosen(rows: dict[str, Row]) -> str | None:
    fitting = {name: row for name, row in rows.items() if row.get("broken") == []}
    smallest_mb = min((row["size_mb"] for row in fitting.values()), default=0)
    small = [name for name, row in fitting.items() if row["size_mb"] <= SAME_SIZE * smallest_mb]
    better = {name: (rows[name]["score"]["lower_bound"], rows[name]["agreement"]) for name in small}
    return max(small, key=lambda name: better[name], default=None)


def table(rows: dict[str, Row], shipped: str | None) -> Table:
    """Show every figure, the bound where a bound is judged, in red where it breaks a promise."""
    drawn = Table(title="On the validation split", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    headings = ("metric", "at least", "worst slice", "agrees", "drop", "differs", "batch")
    for heading in ("candidate", *headings, "p50 ms", "p95 ms", "MB", "peak MB", "verdict"):
        drawn.add_column(heading, no_wrap=heading == "candidate")
    for name, row in rows.items():
        if why := row.get("failed") or row.get("not_run"):
            size = f"{row['size_mb']:.4g}" if "size_mb" in row else ""
            drawn.add_row(name, *[""] * 9, size, "", escape(why if size else f"failed: {why}"))
            continue
        judged = promises(row)
        quality, worst, agreement, drop, p95, size, gap = (
            f"{g.observed:.4g}" if g.passed else f"[red]{g.observed:.4g}[/red]" for g in judged
        )
        least, differs = f"{row['score']['lower_bound']:.4g}", f"{row['max_difference']:.2g}"
        measured = quality, least, worst, agreement, drop, differs
        p50, peak = f"{row['latency_p50_ms']:.3g}", f"{row['peak_memory_mb']:.0f}"
        verdict = _verdict(name == shipped, row, rows.get("fp32", row))
        drawn.add_row(name, *measured, gap, p50, p95, size, peak, verdict)
    return drawn


def _verdict(is_shipped: bool, row: Row, fp32: Row) -> str:
    words = ["shipped"] if is_shipped else []
    if row["broken"]:
        words.append(f"breaks {', '.join(row['broken'])}")
    slower = row["latency_p50_ms"] > fp32.get("latency_p50_ms", float("inf"))
    if slower and row["size_mb"] < fp32["size_mb"]:
        words.append("smaller, not faster")
    return "; ".join(words) or "fits"


def _what_would_fit(rows: dict[str, Row]) -> str:
    """Name what the nearest candidate breaks, as `check` does, and limits that it would keep."""
    judged = {name: promises(row) for name, row in rows.items() if "broken" in row}
    if not judged:
        return "No candidate could be made; reports/compress.json says why."
    nearest = min(judged, key=lambda name: _distance(judged[name]))
    floor, limits = load_scope().min_metric, []
    for g in judged[nearest]:
        key, value = g.where.split()[-1], g.observed
        if g.passed:
            continue
        if g.id == "worst_slice":
            value = floor - g.observed
        rounding = ROUND_FLOOR if key.startswith("min_") else ROUND_CEILING
        limit = Context(prec=3, rounding=rounding).create_decimal_from_float(value)
        if key == "min_metric":
            floor = float(limit)
        limits.append(f"\n  {key}: {limit:f} would fit {nearest}")
    return f"{broken_promises(judged[nearest])}{''.join(limits)}"


def _distance(gates: list[Gate]) -> tuple[int, float]:
    """How many promises are broken, then by how much of their limits."""
    broken = [g for g in gates if not g.passed]
    return len(broken), sum(abs(g.observed - g.limit) / (abs(g.limit) or 1) for g in broken)
