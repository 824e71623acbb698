"""Answers of an update: given now, recorded before, or reset by the rules of a newer version."""

from dataclasses import dataclass
from typing import Any

from rich.console import Console

from .output import say
from .questions import Questions, describe
from .refusal import Refusal


@dataclass(frozen=True)
class NewAnswers:
    """Answers given now, all answers that follow from them, and rules that recorded ones break."""

    given: dict[str, Any]
    context: dict[str, Any]
    rules: dict[str, str]


def answer_again(questions: Questions, recorded: dict[str, Any], typed: list[str]) -> NewAnswers:
    """Read the answers of the command line. Raises Refusal with everything that is wrong."""
    given: dict[str, Any] = {}
    problems: list[str] = []
    for text in typed:
        name, equals, value = text.partition("=")
        if not equals:
            problems.append(f"{text}: write KEY=VALUE, like target=hybrid")
        elif name in given:
            problems.append(f"{name}: answered more than once; keep one")
        elif name not in questions.specs:
            problems += questions.settle({name: value}, until=next(iter(questions.specs), None))[1]
        else:
            given[name] = questions.parse(name, value)
    # With all recorded answers: with a package name, some rules for new projects do not apply.
    context, rules = {**recorded, **given}, {}
    for name, spec in questions.specs.items():
        rule = questions.problem(name, context[name], context) if name in context else ""
        if rule and name in given:
            problems.append(f"{name}: got {describe(given[name])}; {rule}")
        elif rule and questions.is_open(name):
            rules[name] = rule
        # As in Copier: the default replaces a wrong answer, and derived answers are derived again.
        wrong = rule and (name in given or name in rules)
        if name not in context or wrong or spec.get("when") is False:
            context[name] = questions.default(name, context)
    if problems:
        raise Refusal(*problems)
    return NewAnswers(given, context, rules)


def public_answers(recorded: dict[Any, Any]) -> dict[str, Any]:
    """Leave out what Copier records for itself."""
    return {str(k): value for k, value in recorded.items() if not str(k).startswith("_")}


def tell_answers(
    console: Console,
    questions: Questions,
    recorded: dict[str, Any],
    answered: dict[Any, Any],
    answering: NewAnswers,
) -> list[str]:
    """Print every answer that changes; return those that only the new version changes."""
    old, new, reset = public_answers(recorded), public_answers(answered), []
    for name in [*new, *(name for name in old if name not in new)]:
        if name not in new:
            say(console, f"no longer asked: {name}, which was {describe(old[name])}")
        elif name not in old:
            why = "as answered" if name in answering.given else "the default"
            what = questions.help(name, {**answering.context, **new})
            say(console, f"new question: {name} is {describe(new[name])}, {why}. {what}")
        elif old[name] != new[name] and name in answering.given:
            say(
                console,
                f"answered anew: {name} is {describe(new[name])}, was {describe(old[name])}",
            )
        elif old[name] != new[name]:
            rule = answering.rules.get(name) or "the template works it out anew"
            was, now = describe(old[name]), describe(new[name])
            say(console, f"refused by the new version: {name}, {was} would be {now}; {rule}")
            reset.append(f"{name}={new[name]}")
    return reset
