"""The bundled sample, until `task/sample_data.py` is deleted."""

from collections.abc import Iterator
from importlib import import_module

from ..artifacts import DVC_YAML
from ..examples import Example
from ..refusal import Refusal

PACKAGE = __package__.partition(".")[0]
SAMPLE_LINE = "- ${src}/task/sample_"  # in dvc.yaml


def sample_examples() -> Iterator[Example]:
    """Return the bundled sample.

    Raises:
        Refusal: `task/sample_data.py` was deleted, as projects with their own data do.
    """
    try:
        sample = import_module("..task.sample_data", __package__)
    except ModuleNotFoundError as error:
        if error.name != f"{PACKAGE}.task.sample_data":
            raise
        rule = f"your own data, since src/{PACKAGE}/task/sample_data.py is deleted: `ingest PATH`"
        raise Refusal("source", "sample", rule, "my-data") from None
    examples: Iterator[Example] = sample.sample_examples()
    return examples


def drop_sample() -> None:
    """Remove the sample from the dependencies in `dvc.yaml`: it is not read, and may be deleted."""
    text = DVC_YAML.read_text(encoding="utf-8") if DVC_YAML.exists() else ""
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if not line.strip().startswith(SAMPLE_LINE)]
    if kept != lines:
        DVC_YAML.write_text("".join(kept), encoding="utf-8")
        names = sorted({line.strip().rpartition("}/")[2] for line in set(lines) - set(kept)})
        print(f"{DVC_YAML}: no stage depends on {', '.join(names)} any more")
