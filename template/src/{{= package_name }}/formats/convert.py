"""Convert the exported model to one format, and measure it: `formats.convert NAME`.

DVC runs this as a stage in the environment of the format.
"""

import shutil
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from ..artifacts import ONNX, read_report, write_report
from ..atomic import replace_durably, to_json
from ..gates import Gate, gate, refuse_broken
from ..pipeline.compress import Row, measure_quality, table, variant_gates
from ..pipeline.footprint import footprint
from ..pipeline.report import read_variants
from ..predictor import Predictor
from ..scope import load_scope
from ..task.features import FEATURES_VERSION
from .format import NotRunnableError
from .runtime import FACTS, ConvertedModel

HELP = "`make formats` installs its converter; task/model.py may use only what that knows."
WIDTH = 150  # of the table: a CI log has no terminal to ask, and 80 columns would cut it


def convert(name: str) -> None:
    """Write `models/<name>/`, if the file meets the limits that `compress` holds variants to.

    The evidence and the table are about the validation split, like those of `compress`.

    Raises:
        SystemExit: it cannot be converted, or limits are not met; each is named with the format.
    """
    folder = ONNX.parent / name
    exported = Predictor(ONNX)
    shutil.rmtree(folder, ignore_errors=True)  # a format that fails leaves no older file behind
    with TemporaryDirectory(dir=ONNX.parent) as temporary:
        draft = Path(temporary) / name
        draft.mkdir()
        try:
            import_module(f".{name}", __package__).export(draft)
        except Exception as error:  # converters raise anything
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise SystemExit(f"{name} cannot take this network ({reason}). {HELP}") from None
        (draft / FACTS).write_bytes(to_json(_describe(exported)))
        row = _measure(draft, exported)
        gates = list_gates(name, row)
        row["broken"] = [g.id for g in gates if not g.passed]
        write_report(f"format_{name}", row | {"onnx_sha256": exported.sha256})
        Console(width=WIDTH).print(table(read_variants(), read_report("compress")["shipped"]))
        refuse_broken(gates)
        replace_durably(draft, folder)


def list_gates(name: str, row: Row) -> list[Gate]:
    """Return the gates of a format: those of a variant, and parity with the exported model."""
    if "not_run" in row:
        gates = [gate("model_size", "model size MB", row["size_mb"], "max_model_mb")]
    else:
        difference = row["max_difference"]
        parity = gate("parity", "probability, from ONNX", difference, "max_onnx_difference")
        gates = [*variant_gates(row), parity]
    return [g.model_copy(update={"id": f"{name}_{g.id}"}) for g in gates]


def _describe(exported: Predictor) -> dict[str, Any]:
    """Return what the ONNX file has in its metadata; other formats have no place for it."""
    return {
        "labels": exported.labels,
        "input_shape": exported.input_shape,
        "features_version": FEATURES_VERSION,
        "trained_at": exported.trained_at,
    }


def _measure(folder: Path, exported: Predictor) -> Row:
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = {"size_mb": sum(path.stat().st_size for path in files) / 1e6}
    try:
        quality = measure_quality(ConvertedModel(folder), exported, load_scope())
    except NotRunnableError as reason:
        return size | {"not_run": str(reason)}
    return quality | size | footprint(folder, f"{__package__}.runtime")


if __name__ == "__main__":
    convert(sys.argv[1])
