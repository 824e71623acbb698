"""What a question means: its section of the template's `docs/scope.md`, and how to answer it."""

import re
from pathlib import Path

from .questions import WANTED, Questions, describe, did_you_mean
from .refusal import Refusal


def explain_question(root: Path, questions: Questions, name: str) -> str:
    """Explain one question of the template in `root`, as Markdown.

    Raises Refusal when there is no such question, or it cannot be answered.
    """
    open_to_answer = list(filter(questions.is_open, questions.specs))
    if name not in questions.specs:
        hint = did_you_mean(name, open_to_answer) or f"; they are {', '.join(open_to_answer)}"
        raise Refusal(f"{name if name.isprintable() else describe(name)}: no such question{hint}")
    if name not in open_to_answer:
        raise Refusal(f"{name}: worked out from the other answers, so nobody is asked")
    before, _ = questions.settle({}, until=name)
    words = _section(root / "docs" / "scope.md", name) or questions.help(name, before)
    return f"## `{name}`\n\n{words}\n\n{_how_to_answer(questions, name)}\n"


def _section(path: Path, name: str) -> str:
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    found = re.search(rf"^## `{re.escape(name)}`\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return found[1].strip() if found else ""


def _how_to_answer(questions: Questions, name: str) -> str:
    """Describe in one line what an answer looks like, and what Enter gives."""
    before, _ = questions.settle({}, until=name)
    spec, default = questions.specs[name], questions.default(name, before)
    values = ", ".join(f"`{value}`" for _, value in questions.choices(name, before))
    offered = f"`{default}`" if default != "" else "empty"
    is_fixed = str(spec["default"]) == str(default)
    return (
        f"Answer: {f'one of {values}' if values else WANTED[spec['type']]}. "
        f"Default: {offered}{'' if is_fixed else ', which follows from the answers before it'}."
        f"{'' if questions.is_asked(name, before) else ' Asked in the full interview only.'}"
    )
