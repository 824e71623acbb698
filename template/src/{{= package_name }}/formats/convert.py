"""Convert the exported model to one format, and measure it: `formats.convert NAME`.

DVC runs this as a stage in the environment of the format. It measures, and `check` judges.
"""

import shutil
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from ..artifacts import ONNX, REPORTS, read_report, write_report
from ..atomic import replace_durably, to_json
from ..gates import Gate, gate
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
    """Write `models/<name>/`, and its evidence, whether or not it meets the limits.

    The evidence and the table are about the validation split, like those of `compress`.

    Raises:
        SystemExit: it cannot be converted, or the converted file cannot be run.
    """
    folder, report = ONNX.parent / name, f"format_{name}"
    exported = Predictor(ONNX)
    # Without a new file, no older one and no older evidence may be taken for it.
    shutil.rmtree(folder, ignore_errors=True)
    (REPORTS / f"{report}.json").unlink(missing_ok=True)
    with TemporaryDirectory(dir=ONNX.parent) as temporary:
        draft = Path(temporary) / name
        draft.mkdir()
        try:
            import_module(f".{name}", __package__).export(draft)
        except Exception as error:  # converters raise anything
            raise SystemExit(f"{name} cannot take this network ({_say(error)}). {HELP}") from None
        (draft / FACTS).write_bytes(to_json(_describe(exported)))
        row = _measure(draft, exported)
        gates = list_gates(name, row)
        row["broken"] = [g.id for g in gates if not g.passed]
        replace_durably(draft, folder)
    # `check` compares what these observed again: limits may have changed since.
    recorded = {"gates": [g.model_dump() for g in gates]}
    write_report(report, row | {"onnx_sha256": exported.sha256} | recorded)
    Console(width=WIDTH).print(table(read_variants(), read_report("compress")["shipped"]))
    missed = ", ".join(row["broken"])
    print(f"{folder}: misses {missed}." if missed else f"{folder}: meets all limits.")


def list_gates(name: str, row: Row) -> list[Gate]:
    """Return the gates of a format: those of a variant, and parity with the exported model.

    Where its runtime does not exist on this system, the size is all that is known.
    """
    if "not_run" in row:
        gates = [gate("model_size", "model size MB", row["size_mb"], "max_model_mb")]
    else:
        difference = row["max_difference"]
        parity = gate("parity", "probability, from ONNX", difference, "max_onnx_difference")
        gates = [*variant_gates(row), parity]
    named = [{"id": f"{name}_{g.id}", "name": f"{name}: {g.name}"} for g in gates]
    return [g.model_copy(update=words) for g, words in zip(gates, named, strict=True)]


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
    scope = load_scope()
    try:
        quality = measure_quality(ConvertedModel(folder), exported, scope)
        timing = footprint(folder, f"{__package__}.runtime")
    except NotRunnableError as reason:
        return size | {"not_run": str(reason)}
    except Exception as error:  # runtimes raise anything
        raise SystemExit(f"{folder.name} cannot run the file it wrote ({_say(error)}).") from None
    return quality | size | timing


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


if __name__ == "__main__":
    convert(sys.argv[1])
