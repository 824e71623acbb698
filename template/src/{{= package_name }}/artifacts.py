"""Files that pipeline stages write, and how to read their reports."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from . import framework

RAW = Path("data/raw")  # payloads and their labels, in a few Parquet shards
FEATURES = Path("data/features.npz")  # input of the network, label, slice and split of each example
CHECKPOINT = Path("models", framework.CHECKPOINT)
BASELINE = Path("models/baseline.npz")  # the simple model to beat
BASELINE_VARIANT = "baseline"  # its name among the variants of `compress`
ONNX = Path("models/model.onnx")
SHIPPED = Path("models/shipped.onnx")  # the variant that `compress` chose
ONNX_INT8 = SHIPPED  # its name before 0.3.0, which your code may still use
REFERENCE = Path("models/reference.json")  # distributions at training time, for drift
REPORTS = Path("reports")
DVC_YAML = Path("dvc.yaml")


class Conversion(NamedTuple):
    """The model in another file format: its report, and the stage that writes both."""

    report: str
    stage: str


def write_report(name: str, content: dict[str, Any]) -> None:
    """Write measurements for the gates to `reports/<name>.json`."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


def read_report(name: str, stage: str = "") -> dict[str, Any]:
    """Read `reports/<name>.json`; pass the `stage` that writes it if it has another name.

    Raises:
        SystemExit: the report is missing or not JSON; the message names the stage to run.
    """
    path = REPORTS / f"{name}.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError) as error:
        wrong = f"{path} is missing or damaged ({error})"
        raise SystemExit(f"{wrong}. Run {stage or name} first.") from None
    return content


def describe_data(unknown: str = "") -> str:
    """Return source and number of the ingested examples, like `../photos, 120 examples`.

    `unknown` is the source if no report names one.
    """
    path = REPORTS / "ingest.json"
    is_known = path.exists() or not unknown
    data: dict[str, Any] = read_report("ingest") if is_known else {"source": unknown}
    source: str = "made-up sample" if data["source"] == "sample" else data["source"]
    count = data.get("examples", sum(data.get("labels", {}).values()))
    return f"{source}, {count:,} examples" if count else source


def list_conversions() -> list[Conversion]:
    """List the converted models whose reports the stage `check` depends on.

    In `dvc.yaml`, a stage `things` with `foreach` writes `reports/thing_NAME.json` for each NAME.
    Other files in `reports/` are ignored: they may be left over from removed stages.

    Raises:
        SystemExit: `dvc.yaml` is missing or damaged.
    """
    try:
        stages = yaml.safe_load(DVC_YAML.read_text(encoding="utf-8"))["stages"]
        repeated = {name for name, stage in stages.items() if "foreach" in stage}
        paths = [Path(path) for path in stages["check"]["deps"]]
    except OSError as error:
        wrong = f"{DVC_YAML}: {error.strerror}"
        raise SystemExit(f"{wrong}. Restore it: `git checkout {DVC_YAML}`.") from None
    except (yaml.YAMLError, ValueError, AttributeError, TypeError, LookupError) as error:
        wrong = f"{DVC_YAML} cannot be read ({str(error).splitlines()[0]})"
        raise SystemExit(f"{wrong}. After a merge: keep either side, then `make deps`.") from None
    conversions = []
    for path in paths:
        kind, _, name = path.stem.partition("_")
        if path.parent == REPORTS and f"{kind}s" in repeated:
            conversions.append(Conversion(path.stem, f"{kind}s@{name}"))
    return conversions


def read_conversions() -> list[dict[str, Any]]:
    """Return the gates in the reports on converted models.

    Raises:
        SystemExit: a report is missing or has no gates; the message names the stage to run.
    """
    rows: list[dict[str, Any]] = []
    for report, stage in list_conversions():
        recorded = read_report(report, stage).get("gates")
        if not recorded:
            raise SystemExit(f"{REPORTS / report}.json has no gates. Run {stage} again.")
        rows += recorded
    return rows


def refuse_other_labels(
    file: Path | str, labels: Sequence[str], other: Path, expected: Sequence[str]
) -> None:
    """Stop if the labels of two files differ in names or order: an index would mean another label.

    Raises:
        SystemExit: they differ; the message names both.
    """
    if list(labels) != list(expected):
        both = f"{file} has the labels {list(labels)}, but {other} has {list(expected)}"
        remedy = "Run `make model`, or list `labels` in schema.yaml in the order of your model"
        raise SystemExit(f"{both}: names and order must be the same. {remedy}.")


def refuse_other_models() -> None:
    """Stop if the reports are about a model other than the shipped one, or about other data.

    Raises:
        SystemExit: the model is missing, or model or data changed after `evaluate`.
    """
    try:
        shipped = sha256(SHIPPED.read_bytes()).hexdigest()
    except OSError:
        raise SystemExit(f"{SHIPPED} is missing. Run compress first.") from None
    evaluated = read_report("evaluate").get("model_sha256")
    if evaluated != shipped:
        which = f"the model {evaluated}, but {SHIPPED} has SHA-256 {shipped}"
        raise SystemExit(f"reports/evaluate.json is about {which}. Run evaluate again.")
    path = REPORTS / "ingest.json"
    ingested = read_report("ingest").get("sha256") if path.exists() else None
    if ingested and read_report("evaluate").get("data_sha256") != ingested:
        which = f"other data than the last `ingest`: {describe_data()}"
        raise SystemExit(f"reports/evaluate.json is about {which}. Run `make model`.")
