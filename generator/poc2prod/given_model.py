"""A trained model that a new project takes in: `poc2prod new --model FILE`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .questions import Questions
from .refusal import Refusal

FRAMEWORK, ONNX = "framework", "onnx"


def find_files(path: Path) -> list[Path]:
    """Return the file, and files with its weights next to it, as PyTorch writes them.

    Raises Refusal if there is no such file, or if it has another format.
    """
    if not path.is_file():
        raise Refusal(f"--model: {path} is not a file; an example: --model best.onnx")
    if path.suffix != ".onnx":
        page = "docs/your-model.md of poc2prod has the exporters"
        raise Refusal(f"--model: {path} is not an .onnx file; export it first: {page}")
    weights = (path.with_name(f"{path.name}.data"), path.with_suffix(".data"))
    return [path, *(file for file in weights if file.is_file())]


def offer(questions: Questions) -> Questions:
    """Let the interview offer the answer that fits a model.

    Raises Refusal if the template is older than this question.
    """
    if FRAMEWORK not in questions.specs:
        raise Refusal(
            "--model: this version of the template cannot take in a model; use a newer one"
        )
    return questions.with_default(FRAMEWORK, ONNX)


def settle(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answers with the one that fits a model. Raises Refusal if there is another one."""
    if (answer := given.get(FRAMEWORK, ONNX)) != ONNX:
        raise Refusal(f"{FRAMEWORK}: got {answer!r}; with --model, it is {ONNX}")
    return {**given, FRAMEWORK: ONNX}


def with_data(steps: list[str], package: str) -> list[str]:
    """Insert the command that reads data: a given model does not fit the made-up sample."""
    at = next((i for i, step in enumerate(steps) if "make model" in step), len(steps))
    ingest = f"  uv run python -m {package} ingest path/to/data"
    describe = f"  # then describe the outputs in src/{package}/task/given.py"
    return [*steps[:at], ingest, describe, *steps[at:]]
