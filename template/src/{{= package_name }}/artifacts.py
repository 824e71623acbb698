"""Paths of what the pipeline stages write."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import yaml

RAW = Path("data/raw")  # payloads and their labels, in a few Parquet shards
FEATURES = Path("data/features.npz")  # what the model sees, and the split of each example
CHECKPOINT = Path("models/model.pt")
BASELINE = Path("models/baseline.npz")  # the simple model that the network has to beat
ONNX = Path("models/model.onnx")
SHIPPED = Path("models/shipped.onnx")  # the candidate that `compress` chose
ONNX_INT8 = SHIPPED  # its name in 0.2: code of yours may have it, and old lines merge
REFERENCE = Path("models/reference.json")  # what inputs looked like at training
REPORTS = Path("reports")
DVC_YAML = Path("dvc.yaml")


class Conversion(NamedTuple):
    """The model in another kind of file: the report on it, and the stage that makes both."""

    report: str
    stage: str


def write_report(name: str, content: dict[str, Any]) -> None:
    """Leave evidence for the gates in `reports/<name>.json`."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


def read_report(name: str, stage: str = "") -> dict[str, Any]:
    """Read the evidence a stage left; `stage` is given where its name is not that of the report.

    Raises:
        SystemExit: the report is missing or is not JSON; the stage to run is named.
    """
    path = REPORTS / f"{name}.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError) as error:
        wrong = f"{path} is missing or damaged ({error})"
        raise SystemExit(f"{wrong}. Run {stage or name} first.") from None
    return content


def list_conversions() -> list[Conversion]:
    """Return the converted models of this project: those on whose report `check` depends.

    A stage with `foreach` in `dvc.yaml`, `things`, leaves `reports/thing_NAME.json` for each name.
    Other files in `reports/` do not count: they stay there when their stage is removed.

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
    """Return the gates that the stages of converted models recorded.

    Raises:
        SystemExit: a report is missing or has none; the stage to run is named.
    """
    rows: list[dict[str, Any]] = []
    for report, stage in list_conversions():
        recorded = read_report(report, stage).get("gates")
        if not recorded:
            raise SystemExit(f"{REPORTS / report}.json has no gates. Run {stage} again.")
        rows += recorded
    return rows


def refuse_other_models() -> None:
    """Stop when the evidence is not about the file that is shipped.

    Raises:
        SystemExit: the model is missing, or changed after it was evaluated.
    """
    try:
        shipped = sha256(SHIPPED.read_bytes()).hexdigest()
    except OSError:
        raise SystemExit(f"{SHIPPED} is missing. Run compress first.") from None
    judged = read_report("evaluate").get("model_sha256")
    if judged != shipped:
        which = f"the model {judged}, but {SHIPPED} has SHA-256 {shipped}"
        raise SystemExit(f"reports/evaluate.json is about {which}. Run evaluate again.")
