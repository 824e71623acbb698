"""Convert the exported model to one format and measure it: `formats.convert NAME`.

A DVC stage, run in the environment of the format. `check` compares the measurements with limits.
"""

import shutil
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from ..artifacts import BASELINE_VARIANT, ONNX, REPORTS, SHIPPED, read_report, write_report
from ..atomic import replace_durably, to_json
from ..gates import Gate, gate
from ..pipeline.compress import Row, measure_quality, table, variant_gates
from ..pipeline.footprint import footprint
from ..pipeline.report import read_variants
from ..pipeline.splits import require_head
from ..predictor import Predictor
from ..scope import load_scope
from ..task.features import FEATURES_VERSION
from .format import NotRunnableError
from .runtime import FACTS, ConvertedModel

HELP = "`make formats` installs the converter; it supports only some operators in task/model.py."
WIDTH = 150  # of the table; the default, 80 columns in CI logs, would truncate it


def convert(name: str) -> None:
    """Write `models/<name>/` and a report on it, whether or not it meets the limits.

    Measurements are on the validation split, as in `compress`.

    Raises:
        SystemExit: the conversion fails, or the converted file cannot run, or the exported model
            has other labels than the features.
    """
    folder, report = ONNX.parent / name, f"format_{name}"
    exported = Predictor(ONNX)
    require_head(ONNX, exported.head)
    if read_report("compress")["shipped"] == BASELINE_VARIANT:
        raise SystemExit(
            f"The baseline is shipped, not the network that {name} would convert. Use {SHIPPED}, or"
            " improve the network until it beats the baseline by min_gain_over_baseline."
        )
    # If the conversion fails, an older file or report must not be taken for the new one.
    shutil.rmtree(folder, ignore_errors=True)
    (REPORTS / f"{report}.json").unlink(missing_ok=True)
    with TemporaryDirectory(dir=ONNX.parent) as temporary:
        draft = Path(temporary) / name
        draft.mkdir()
        try:
            import_module(f".{name}", __package__).export(draft)
        except Exception as error:  # converters raise any exception
            reason = _format(error)
            raise SystemExit(f"{name} cannot convert this network ({reason}). {HELP}") from None
        (draft / FACTS).write_bytes(to_json(_describe(exported)))
        row = _measure(draft, exported)
        gates = list_gates(name, row)
        row["broken"] = [g.id for g in gates if not g.passed]
        replace_durably(draft, folder)
    # `check` compares the measurements again: limits may have changed since.
    recorded = {"gates": [g.model_dump() for g in gates]}
    write_report(report, row | {"onnx_sha256": exported.sha256} | recorded)
    Console(width=WIDTH).print(table(read_variants(), read_report("compress")["shipped"]))
    missed = ", ".join(row["broken"])
    print(f"{folder}: misses {missed}." if missed else f"{folder}: meets all limits.")


def list_gates(name: str, row: Row) -> list[Gate]:
    """Return the gates of a format: those of a variant, and parity with the exported model.

    If this system cannot run the format, only its size has a gate.
    """
    if "not_run" in row:
        gates = [gate("model_size", "model size, MB", row["size_mb"], "max_model_mb")]
    else:
        difference = row["max_difference"]
        parity = gate("parity", "difference from ONNX", difference, "max_onnx_difference")
        gates = [*variant_gates(row), parity]
    return [
        g.model_copy(update={"id": f"{name}_{g.id}", "name": f"{name}: {g.name}"}) for g in gates
    ]


def _describe(exported: Predictor) -> dict[str, Any]:
    """Return the metadata of the ONNX file, for formats that cannot store it."""
    return {
        **exported.head.model_dump(),
        "input_shape": exported.input_shape,
        "features_version": FEATURES_VERSION,
        "trained_at": exported.trained_at,
    }


def _measure(folder: Path, exported: Predictor) -> Row:
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = {"size_mb": sum(path.stat().st_size for path in files) / 1e6}
    scope = load_scope()
    try:
        quality = measure_quality(ConvertedModel(folder), exported, scope)
        timing = footprint(folder, f"{__package__}.runtime")
    except NotRunnableError as reason:
        return size | {"not_run": str(reason)}
    except Exception as error:  # runtimes raise any exception
        message = f"{folder.name} cannot run the file it wrote ({_format(error)})."
        raise SystemExit(message) from None
    return quality | size | timing


def _format(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


if __name__ == "__main__":
    convert(sys.argv[1])
