"""Answers of an update: given now, recorded before, or reset by rules of the new version."""

from dataclasses import dataclass
from typing import Any

from rich.console import Console

from .output import say
from .questions import Questions, describe
from .refusal import Refusal

# Answers that mostly decide what is in files that updates never change, with those files.
FIXED = {
    "modality": "task/ and schema.yaml",
    "project_name": "README.md, the DVC remote and the decision record",
}


@dataclass(frozen=True)
class NewAnswers:
    """Answers given now, all resulting answers, and the rules that recorded answers violate."""

    given: dict[str, Any]
    context: dict[str, Any]
    rules: dict[str, str]


def answer_again(questions: Questions, recorded: dict[str, Any], typed: list[str]) -> NewAnswers:
    """Parse the answers of the command line. Raises Refusal with all problems at once."""
    given: dict[str, Any] = {}
    problems: list[str] = []
    for text in typed:
        name, equals, value = text.partition("=")
        if not equals:
            problems.append(f"{text}: write KEY=VALUE, like target=hybrid")
        elif name in given:
            problems.append(f"{name}: answered more than once; give one answer")
        elif name not in questions.specs:
            problems += questions.settle({name: value}, until=next(iter(questions.specs), None))[1]
        elif name in FIXED and questions.parse(name, value) != recorded.get(name):
            was, files = describe(recorded.get(name)), FIXED[name]
            problems.append(
                f"{name}: got {describe(value)}; this project keeps {was}, because updates do not "
                f"change {files}, which belong to you; for another one, run poc2prod new"
            )
        else:
            given[name] = questions.parse(name, value)
    # Include all recorded answers: some rules only apply to projects without a package name.
    context, rules = {**recorded, **given}, {}
    for name, spec in questions.specs.items():
        rule = questions.problem(name, context[name], context) if name in context else ""
        if rule and name in given:
            problems.append(f"{name}: got {describe(given[name])}; {rule}")
        elif rule and questions.is_open(name):
            rules[name] = rule
        # As in Copier: the default replaces an invalid answer; derived answers are derived again.
        wrong = rule and (name in given or name in rules)
        if name not in context or wrong or spec.get("when") is False:
            context[name] = questions.default(name, context)
    if problems:
        raise Refusal(*problems)
    return NewAnswers(given, context, rules)


def public_answers(recorded: dict[Any, Any]) -> dict[str, Any]:
    """Return the answers without Copier's own records, whose names start with `_`."""
    return {str(k): value for k, value in recorded.items() if not str(k).startswith("_")}


def print_answers(
    console: Console,
    questions: Questions,
    recorded: dict[str, Any],
    answered: dict[Any, Any],
    answering: NewAnswers,
) -> list[str]:
    """Print each answer that changes; return those that change without being answered now."""
    old, new, reset = public_answers(recorded), public_answers(answered), []
    for name in [*new, *(name for name in old if name not in new)]:
        if name not in new:
            say(console, f"removed question: {name}, answered {describe(old[name])}")
        elif name not in old and not questions.applies(name, {**answering.context, **new}):
            continue  # recorded, but without a meaning for this project
        elif name not in old:
            why = "as given" if name in answering.given else "the default"
            what = questions.help(name, {**answering.context, **new})
            say(console, f"new question: {name} is {describe(new[name])}, {why}. {what}")
        elif old[name] != new[name] and name in answering.given:
            say(
                console,
                f"changed answer: {name} is {describe(new[name])}, was {describe(old[name])}",
            )
        elif old[name] != new[name]:
            rule = answering.rules.get(name) or "the template derives it again"
            was, now = describe(old[name]), describe(new[name])
            say(console, f"rejected by the new version: {name}, {was} would become {now}; {rule}")
            reset.append(f"{name}={new[name]}")
    return reset
