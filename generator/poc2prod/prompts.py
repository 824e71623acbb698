"""Asks one question, on a terminal or line by line from a pipe."""

import sys
from collections.abc import Callable, Mapping
from functools import cache
from itertools import takewhile
from textwrap import fill
from typing import Any

import questionary
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.filters import Always, Condition
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent, merge_key_bindings
from rich.console import Console
from rich.markdown import Markdown

from .estimate import Estimator
from .questions import Questions
from .refusal import Refusal

Explain = Callable[[str], str]
KEYS = "Ctrl-B back  {} explain  Ctrl-C save and stop"


class Back(Exception):
    """Go back to the question before."""


class Question:
    """One question, with the choices and the default that follow from the answers before it."""

    def __init__(
        self,
        questions: Questions,
        name: str,
        position: str,
        given: Mapping[str, Any],
        answers: Mapping[str, Any],
    ) -> None:
        self.questions = questions
        self.name = name
        self.position = position
        self.given = given
        self.before = answers_before(answers, name)
        self.help = questions.help(name, self.before)
        self.choices = questions.choices(name, self.before)
        self.default = questions.default(name, self.before)
        self.offered = self.given.get(name, self.default)

    def read(self, typed: str) -> tuple[Any, str]:
        """Parse a typed answer; also return the rule that it breaks, if any."""
        value = self.questions.parse(self.name, typed.strip())
        return value, self.problem(value)

    def problem(self, value: Any) -> str:
        """Return the rule that an answer breaks, if any."""
        return self.questions.problem(self.name, value, self.before)

    def estimate(self, value: Any) -> str:
        try:
            return Estimator(self.questions, {**self.given, self.name: value}).line()
        except Refusal:  # a template need not estimate anything
            return ""


class Prompt:
    """What every way of asking can do."""

    def __init__(self, console: Console, explain: Explain) -> None:
        self.console, self.explain = console, explain

    def say(self, text: str) -> None:
        """Print text without markup: a rule may contain [brackets]."""
        self.console.print(text, soft_wrap=True, markup=False, highlight=False)

    def show_explanation(self, name: str) -> None:
        self.console.print(Markdown(self.explain(name)))


class TerminalPrompt(Prompt):
    """A terminal, where the estimate follows every key."""

    def ask(self, question: Question) -> Any:
        """Return a valid answer. Raises Back, EOFError or KeyboardInterrupt."""
        keys = KeyBindings()

        def explain(event: KeyPressEvent) -> None:
            run_in_terminal(lambda: self.show_explanation(question.name))  # what is typed stays

        keys.add("f1")(explain)
        if question.choices:
            keys.add("?")(explain)
            return self._run(self._choice(question), keys)
        return question.read(self._run(self._text(question, keys), keys))[0]

    def confirm(self) -> None:
        """Return for y and Enter. Raises Back for n."""
        hint = "(Y/n; n and Ctrl-B go back, Ctrl-C saves and stops) "
        prompt = questionary.confirm("Write it?", qmark="", instruction=hint)
        if not self._run(prompt, KeyBindings()):
            raise Back

    def _choice(self, question: Question) -> questionary.Question:
        estimates = {value: question.estimate(value) for _, value in question.choices}
        differ = len(set(estimates.values())) > 1
        choices = [
            questionary.Choice(
                label,
                value,
                disabled=question.problem(value) or None,
                description=self._wrap(estimates[value], "  Description:") if differ else None,
            )
            for label, value in question.choices
        ]
        default = None if question.problem(question.offered) else question.offered
        return questionary.select(
            self._words(question),
            choices,
            default,
            qmark=question.position,
            instruction=KEYS.format("?"),
        )

    def _text(self, question: Question, keys: KeyBindings) -> questionary.Question:
        default, estimate = as_typed(question.default), cache(question.estimate)

        @keys.add("enter", filter=Condition(lambda: not get_app().current_buffer.text))
        def take_default(event: KeyPressEvent) -> None:
            event.current_buffer.text = default  # so that it stays on the screen
            event.current_buffer.validate_and_handle()

        def toolbar() -> str:
            value, problem = question.read(get_app().current_buffer.text or default)
            line = "" if problem else estimate(value)  # a broken rule is shown right above
            return "\n".join(f" {self._wrap(text)}" for text in (line, KEYS.format("F1")) if text)

        return questionary.text(
            self._words(question),
            default=as_typed(question.given.get(question.name, "")),
            validate=lambda typed: question.read(typed or default)[1] or True,
            qmark=question.position,
            placeholder=[("fg:ansibrightblack", default)],
            bottom_toolbar=toolbar,
        )

    def _words(self, question: Question) -> str:
        return f"{self._wrap(question.help, question.position)}\n "

    def _wrap(self, text: str, behind: str = "") -> str:
        """Break lines between words and align them: a prompt would break them anywhere."""
        indent = " " * (len(behind) + 1)
        width = self.console.width
        return fill(text, width, initial_indent=indent, subsequent_indent=indent).strip()

    def _run(self, prompt: questionary.Question, keys: KeyBindings) -> Any:
        @keys.add("c-b")
        def go_back(event: KeyPressEvent) -> None:
            event.app.erase_when_done = True
            event.app.exit(exception=Back())

        application = prompt.application
        own = application.key_bindings or KeyBindings()
        application.key_bindings = merge_key_bindings([own, keys])
        for window in application.layout.find_all_windows():
            window.wrap_lines = Always()  # labels and rules are whole on a narrow terminal, too
        return prompt.unsafe_ask()


class PipePrompt(Prompt):
    """A pipe, or a terminal without a cursor."""

    def ask(self, question: Question) -> Any:
        """Return a valid answer. Raises Back, EOFError or KeyboardInterrupt."""
        self.say(f"{question.position} {question.help}")
        values = [as_typed(value) for _, value in question.choices]
        meant = {str(number): value for number, value in enumerate(values, 1)}
        meant |= {value: value for value in values}  # which win, where they are numbers
        for number, (label, _) in enumerate(question.choices, 1):
            self.say(f"  {number} {label}")
        while True:
            typed = self._line(as_typed(question.offered))
            if typed == "?":
                self.show_explanation(question.name)
                continue
            value, problem = question.read(meant.get(typed, typed))
            if not problem:
                return value
            self.say(problem)

    def confirm(self) -> None:
        """Return for y and an empty line. Raises KeyboardInterrupt for n."""
        self.say("Write it? (y; n saves and stops, < goes back)")
        while (typed := self._line("y").lower()) not in ("y", "yes"):
            if typed in ("n", "no"):
                raise KeyboardInterrupt
            self.say("y, n or <")

    def _line(self, offered: str) -> str:
        self.say(f"[{offered}]")
        line = sys.stdin.buffer.readline() if sys.stdin else b""
        if not line:
            raise EOFError
        typed = line.decode("utf-8", "replace").rstrip("\r\n")
        if typed.strip() == "<":
            raise Back
        return typed.strip() if typed else offered


def answers_before(answers: Mapping[str, Any], name: str) -> dict[str, Any]:
    return dict(takewhile(lambda answer: answer[0] != name, answers.items()))


def as_typed(answer: Any) -> str:
    """Write an answer as it is typed: 2 instead of 2.0."""
    return str(answer).removesuffix(".0") if isinstance(answer, float) else str(answer)
