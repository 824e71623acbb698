"""Take in the given model: bring it into the form of the pipeline, and compare its answers."""

import json
import time
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from ..artifacts import FEATURES, ONNX, describe_data, refuse_other_labels, write_report
from ..problem.answer import Head
from ..problem.given_outputs import find_meaning
from ..problem.outputs import Meaning, expect
from ..refusal import Refusal
from ..schema import SCHEMA, load_schema
from ..scope import load_params
from ..task import given
from ..task.features import FEATURES_VERSION
from .given_graph import check_shape, find_source, read_given
from .given_model import write_model
from .graph import Source
from .linear import write_baseline
from .onnx_file import measure
from .sample_model import write_sample
from .splits import load_head, load_split

FILE = Path(str(given.__file__)).with_name("model.onnx")
SAMPLE = ONNX.with_name("sample.onnx")  # stands in for `FILE`
COMPARED = 400  # held-out examples, run one by one in the given file


def adopt() -> None:
    """Write models/model.onnx from the given file, and the baseline it has to beat.

    Raises:
        SystemExit: there is no file, or it cannot be used; the message says what to change.
    """
    head = load_head()
    refuse_other_labels(SCHEMA, load_schema().labels, FEATURES, head.names)
    try:
        write_report("export", _adopt(_find_file(head), head))
    except Refusal as error:
        ONNX.unlink(missing_ok=True)
        raise SystemExit(f"The model cannot be adopted. {error}") from None
    write_baseline(head)


def _find_file(head: Head) -> Path:
    if FILE.exists():
        return FILE
    if load_schema().source != "sample":
        rule = f"a trained model for your data ({describe_data()}); copy it there"
        raise Refusal(f"{FILE.parent.name}/{FILE.name}", "no file", rule, "cp ~/best.onnx ...")
    write_sample(SAMPLE, head, load_params().seed)
    print(f"No {FILE.parent.name}/{FILE.name} yet: a made-up model for the sample data is used.")
    return SAMPLE


def _adopt(path: Path, head: Head) -> dict[str, Any]:
    """Write the ONNX file; return its measurements, and facts for the model card."""
    x = load_split("test")[0][:COMPARED]
    model = read_given(path)
    source = find_source(model, given.OUTPUT)
    check_shape(source, x.shape[1:])
    raw = _run_given(path, source, x)
    flat = raw.reshape(len(raw), -1)
    known = {entry.key: entry.value for entry in model.metadata_props}
    listed = json.loads(known["labels"]) if path == SAMPLE and "labels" in known else []
    names = list(getattr(given, "LABELS", ())) or listed
    activation = getattr(given, "ACTIVATION", "")
    meaning = find_meaning(flat.astype(np.float32), source.last, names, activation, head)
    trained_at = _trained_at()
    facts = {"features_version": FEATURES_VERSION, "trained_at": trained_at} | head.model_dump()
    adopted = write_model(model, source, raw, meaning, facts, x)
    measured = measure(adopted, x, expect(flat, meaning, adopted.head))
    origin = _describe_origin(path, source, meaning, model)
    return measured | facts | {"parameters": measured["weights"], "origin": origin}


def _run_given(path: Path, source: Source, x: np.ndarray) -> np.ndarray:
    """Return the raw outputs of the given file for each input alone.

    Raises:
        Refusal: onnxruntime cannot run the file, or two runs differ.
    """
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # old files list weights as inputs, which is only a warning
        session = onnxruntime.InferenceSession(path, options)
        inputs = x.astype(source.dtype)
        rows = [session.run([source.output], {source.input: row[None]})[0] for row in inputs]
        again = session.run([source.output], {source.input: inputs[:1]})[0]
    except Exception as error:  # onnxruntime's errors have no narrower base class
        rule = f"a model that onnxruntime runs with one input ({str(error).splitlines()[0]})"
        raise Refusal("model", path.name, rule, "an input of shape (1, ...)") from None
    if not np.array_equal(again, rows[0], equal_nan=True):
        rule = "the same answer each time; export it in evaluation mode, without dropout"
        raise Refusal("model", path.name, rule, "model.eval()")
    if any(len(np.atleast_1d(row)) != 1 for row in rows):
        rule = "one answer per input: the first axis of the output is that of the inputs"
        raise Refusal("shape of the output", list(rows[0].shape), rule, [1, "..."])
    return np.concatenate([np.atleast_1d(row) for row in rows])


def _trained_at() -> float:
    """Return the Unix time of the day in task/given.py, or now."""
    try:
        day = given.TRAINED_ON
        return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() if day else time.time()
    except ValueError:
        rule = "a date, or empty"
        raise Refusal("TRAINED_ON in task/given.py", given.TRAINED_ON, rule, "2026-11-30") from None


def _describe_origin(
    path: Path, source: Source, meaning: Meaning, model: onnx.ModelProto
) -> list[str]:
    """Return sentences for the model card."""
    digest = sha256(path.read_bytes()).hexdigest()
    kind, shape = source.dtype.name, ", ".join(map(str, source.shape)) or "not declared"
    unstated = "not stated ({} in task/given.py)"
    return [
        f"Made from `{path.name}`, SHA-256 `{digest}`.",
        f"Input `{source.input}`: {kind}, shape ({shape}). Output `{source.output}`, activation"
        f" {meaning.activation}.",
        f"Origin: {given.ORIGIN or unstated.format('ORIGIN')}. Licence of the weights:"
        f" {given.LICENSE or unstated.format('LICENSE')}.",
        "It was not trained here: the quality holds only if the held-out examples were not among"
        " those that it was trained on.",
    ]
