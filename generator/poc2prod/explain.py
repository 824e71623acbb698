"""Explain a question: its section of the template's `docs/scope.md`, and how to answer it."""

import re
from pathlib import Path

from .files import read_text
from .questions import Questions, describe, did_you_mean
from .refusal import Refusal

PAGE = Path("docs/scope.md")


def explain_question(root: Path, questions: Questions, name: str) -> str:
    """Return the explanation of a question of the template in `root`, as Markdown.

    Raises Refusal if there is no such question, or if it is derived from other answers.
    """
    open_to_answer = list(filter(questions.is_open, questions.specs))
    if name not in questions.specs:
        hint = did_you_mean(name, open_to_answer) or f"; questions: {', '.join(open_to_answer)}"
        raise Refusal(f"{name if name.isprintable() else describe(name)}: no such question{hint}")
    if name not in open_to_answer:
        raise Refusal(f"{name}: derived from other answers, so it is not a question")
    before, _ = questions.settle({}, until=name)
    words = _section(root, name) or questions.help(name, before)
    return f"## `{name}`\n\n{words}\n\n{_how_to_answer(questions, name)}\n"


def _section(root: Path, name: str) -> str:
    text = read_text(root, PAGE, default="")
    found = re.search(rf"^## `{re.escape(name)}`\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return found[1].strip() if found else ""


def _how_to_answer(questions: Questions, name: str) -> str:
    """Describe the type of the answer and the default, in one line."""
    before, _ = questions.settle({}, until=name)
    default = questions.default(name, before)
    values = ", ".join(f"`{value}`" for _, value in questions.choices(name, before))
    offered = f"`{default}`" if default != "" else "empty"
    is_fixed = str(questions.specs[name]["default"]) == str(default)
    return (
        f"Answer: {f'one of {values}' if values else questions.wanted(name)}. "
        f"Default: {offered}{'' if is_fixed else ', computed from earlier answers'}."
        f"{'' if questions.is_asked(name, before) else ' Asked only in the full interview.'}"
    )
