"""An ONNX file and a format's name in, a folder that another runtime takes and its verdict out."""

import shutil
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from ..artifacts import ONNX, move_whole, read_report, to_json, write_report
from ..gates import Gate, gate, refuse_broken
from ..pipeline.compress import Row, measure_quality, table, variant_gates
from ..pipeline.footprint import footprint
from ..pipeline.report import read_variants
from ..predictor import Predictor
from ..scope import load_scope
from ..task.features import FEATURES_VERSION
from .format import NotRun
from .runtime import FACTS, Converted

MEND = "`make formats` installs its converter; task/model.py may use only what that knows."


def convert(name: str) -> None:
    """Write `models/<name>/`, if the file keeps the promises that the candidates must keep.

    The evidence, and the table, are about the validation split, like those of `compress`.

    Raises:
        SystemExit: a promise is broken, each is named with the format; or it cannot be written.
    """
    place, exported = ONNX.parent / name, Predictor(ONNX)
    shutil.rmtree(place, ignore_errors=True)
    with TemporaryDirectory(dir=ONNX.parent) as folder:
        draft = Path(folder) / name
        draft.mkdir()
        try:
            import_module(f".{name}", __package__).export(draft)
        except Exception as error:  # converters raise anything
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise SystemExit(f"{name} cannot take this network ({why}). {MEND}") from None
        (draft / FACTS).write_bytes(to_json(_facts(exported)))
        row = _measured(draft, exported)
        judged = judge(name, row)
        row["broken"] = [g.id for g in judged if not g.passed]
        write_report(f"format_{name}", row | {"onnx_sha256": exported.sha256})
        Console(width=150).print(table(read_variants(), read_report("compress")["shipped"]))
        refuse_broken(judged)
        move_whole(draft, place)


def judge(name: str, row: Row) -> list[Gate]:
    """Hold a format against the promises of the candidates, and against the exported model."""
    if "not_run" in row:
        found = [gate("model_size", "model size MB", row["size_mb"], "max_model_mb")]
    else:
        difference = row["max_difference"]
        parity = gate("parity", "probability, from ONNX", difference, "max_onnx_difference")
        found = [*variant_gates(row), parity]
    return [g.model_copy(update={"id": f"{name}_{g.id}"}) for g in found]


def _facts(exported: Predictor) -> dict[str, Any]:
    """Say what the metadata of the ONNX file say."""
    return {
        "labels": exported.labels,
        "input_shape": exported.input_shape,
        "features_version": FEATURES_VERSION,
        "trained_at": exported.trained_at,
    }


def _measured(folder: Path, exported: Predictor) -> Row:
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = {"size_mb": sum(path.stat().st_size for path in files) / 1e6}
    try:
        found = measure_quality(Converted(folder), exported, load_scope())
    except NotRun as reason:
        return size | {"not_run": str(reason)}
    return found | size | footprint(folder, f"{__package__}.runtime")


if __name__ == "__main__":
    convert(sys.argv[1])
