"""A trained model that a new project takes in: `poc2prod new --model FILE`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .questions import Questions
from .refusal import Refusal

FRAMEWORK, MODALITY = "framework", "modality"
TREES = {FRAMEWORK: "trees", MODALITY: "tabular"}
ANSWERS = {  # that fit a file, by its ending
    ".onnx": {FRAMEWORK: "onnx"},
    ".keras": {FRAMEWORK: "keras"},
    **dict.fromkeys((".skops", ".txt", ".json", ".ubj", ".joblib", ".pkl"), TREES),
}
DESCRIPTIONS = {"trees": "model.py"}  # in task/, where the file is described; else given.py


def find_files(path: Path) -> list[Path]:
    """Return the file, and files with its weights next to it, as PyTorch writes them for ONNX.

    Raises Refusal if there is no such file, or if it has another format.
    """
    if not path.is_file():
        raise Refusal(f"--model: {path} is not a file; an example: --model best.onnx")
    if path.suffix not in ANSWERS:
        endings, page = ", ".join(ANSWERS), "docs/your-model.md of poc2prod has the exporters"
        raise Refusal(f"--model: {path} is none of {endings}; export it first: {page}")
    if path.suffix != ".onnx":
        return [path]
    weights = (path.with_name(f"{path.name}.data"), path.with_suffix(".data"))
    return [path, *(file for file in weights if file.is_file())]


def offer(questions: Questions, path: Path) -> Questions:
    """Let the interview offer the answers that fit a model.

    Raises Refusal if the template is older than this kind of model.
    """
    for name, answer in ANSWERS[path.suffix].items():
        choices = questions.specs.get(name, {}).get("choices", {})
        known = [each["value"] if isinstance(each, dict) else each for each in choices.values()]
        if answer not in known:
            raise Refusal(
                f"--model: this version of the template cannot take in {path.name}; use a newer one"
            )
        questions = questions.with_default(name, answer)
    return questions


def settle(given: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the answers with those that fit a model. Raises Refusal if there is another one."""
    fitting = ANSWERS[path.suffix]
    for name, answer in fitting.items():
        if (found := given.get(name, answer)) != answer:
            raise Refusal(f"{name}: got {found!r}; with --model {path.name}, it is {answer}")
    return {**given, **fitting}


def with_data(steps: list[str], answers: Mapping[str, Any]) -> list[str]:
    """Insert the command that reads data: a given model does not fit the made-up sample."""
    at = next((i for i, step in enumerate(steps) if "make model" in step), len(steps))
    package, where = answers["package_name"], DESCRIPTIONS.get(answers[FRAMEWORK], "given.py")
    ingest = f"  uv run python -m {package} ingest path/to/data"
    describe = f"  # then describe the outputs in src/{package}/task/{where}"
    return [*steps[:at], ingest, describe, *steps[at:]]
