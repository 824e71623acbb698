"""Ask one question, on a terminal or through a pipe."""

import sys
from collections.abc import Callable, Mapping
from functools import cache
from itertools import takewhile
from textwrap import fill
from typing import Any

import questionary
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.filters import Always, shift_selection_mode
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent, merge_key_bindings
from prompt_toolkit.keys import Keys
from rich.console import Console

from .estimate import Estimator, doubt
from .output import markdown, plain_lines
from .questions import Questions, is_number
from .refusal import Refusal

Explain = Callable[[str], str]
KEYS = "F1 help  Ctrl-B back  Ctrl-C save and quit"


class Back(Exception):
    """Go back to the previous question."""


class Question:
    """One question, with its choices and its default, given the earlier answers."""

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
        self.help = plain_lines(questions.help(name, self.before))
        self.choices = [
            (plain_lines(label), value) for label, value in questions.choices(name, self.before)
        ]
        self.default = questions.default(name, self.before)
        self.offered = self.given.get(name, self.default)
        self.is_number = is_number(questions.specs[name]["type"])

    def read(self, typed: str) -> tuple[Any, str]:
        """Parse a typed answer; also return the rule that it breaks, or ""."""
        value = self.questions.parse(self.name, typed.strip())
        return value, self.problem(value)

    def problem(self, value: Any) -> str:
        """Return the rule that an answer breaks, or ""."""
        return self.questions.problem(self.name, value, self.before)

    def estimate(self, value: Any) -> str:
        try:
            return Estimator(self.questions, {**self.given, self.name: value}).line()
        except Refusal:  # a template without estimates
            return ""

    def doubt(self, value: Any) -> str:
        """Return why a new answer is probably a mistake; "" if it is plausible."""
        if self.given.get(self.name) == value:
            return ""
        return doubt(self.questions, {**self.given, self.name: value}, self.name)


class Prompt:
    """Shared by prompts on terminals and through pipes."""

    def __init__(self, console: Console, explain: Explain) -> None:
        self.console, self.explain = console, explain

    def say(self, text: str) -> None:
        """Print text without markup: a rule may contain [brackets]."""
        self.console.print(plain_lines(text), soft_wrap=True, markup=False, highlight=False)

    def show_explanation(self, name: str) -> None:
        self.console.print(markdown(self.explain(name)))


class TerminalPrompt(Prompt):
    """For a terminal: the estimate is updated with every key."""

    def ask(self, question: Question) -> Any:
        """Return a valid answer. Raises Back, EOFError or KeyboardInterrupt."""
        if question.choices:
            return self._run(self._choice(question), self._help_keys(question, "f1", "?"))
        text = as_typed(question.given.get(question.name, ""))
        while True:
            keys = self._help_keys(question, "f1")
            value = question.read(self._run(self._text(question, text, keys), keys))[0]
            doubt = question.doubt(value)
            if not doubt or self._keeps(doubt):
                return value
            text = as_typed(value)

    def _help_keys(self, question: Question, *names: str) -> KeyBindings:
        keys = KeyBindings()

        def explain(event: KeyPressEvent) -> None:
            run_in_terminal(lambda: self.show_explanation(question.name))  # keeps the typed text

        for name in names:
            keys.add(name)(explain)
        return keys

    def _keeps(self, doubt: str) -> bool:
        prompt = questionary.confirm(
            f"{doubt} Keep it?", default=False, qmark="", instruction="(y/N) "
        )
        try:
            return bool(self._run(prompt, KeyBindings()))
        except Back:
            return False

    def confirm(self) -> None:
        """Return for y and Enter. Raises Back for n."""
        hint = "(Y/n; n and Ctrl-B go back, Ctrl-C saves and quits) "
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
            instruction=KEYS,
        )

    def _text(self, question: Question, text: str, keys: KeyBindings) -> questionary.Question:
        default, estimate = as_typed(question.default), cache(question.estimate)

        @keys.add("enter")
        def accept(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            value, problem = question.read(buffer.text or default)
            if not buffer.text:
                buffer.text = default  # show the accepted value
            elif question.is_number and not problem:
                buffer.text = as_typed(value)
            buffer.validate_and_handle()

        @keys.add(Keys.Delete, filter=shift_selection_mode)
        def delete(event: KeyPressEvent) -> None:
            event.current_buffer.cut_selection()

        @keys.add(Keys.BracketedPaste, filter=shift_selection_mode)
        def paste(event: KeyPressEvent) -> None:
            event.current_buffer.cut_selection()
            event.current_buffer.insert_text(event.data.replace("\r\n", "\n").replace("\r", "\n"))

        def toolbar() -> str:
            typed = get_app().current_buffer.text or default
            value, problem = question.read(typed)
            line = "" if problem else estimate(value)  # a broken rule is shown above
            read = question.is_number and not problem and typed.strip() != as_typed(value)
            understood = f"= {as_typed(value)}" if read else ""
            return "\n".join(f" {self._wrap(text)}" for text in (understood, line, KEYS) if text)

        prompt = questionary.text(
            self._words(question),
            default=text,
            validate=lambda typed: question.read(typed or default)[1] or True,
            qmark=question.position,
            placeholder=[("fg:ansibrightblack", default)],
            bottom_toolbar=toolbar,
        )
        if text:
            prompt.application.pre_run_callables.append(_select_all)
        return prompt

    def _words(self, question: Question) -> str:
        return f"{self._wrap(question.help, question.position)}\n "

    def _wrap(self, text: str, behind: str = "") -> str:
        """Break lines between words and align them; prompt_toolkit breaks them anywhere."""
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
            window.wrap_lines = Always()  # show long labels and rules on a narrow terminal, too
        return prompt.unsafe_ask()


class PipePrompt(Prompt):
    """For a pipe, or a terminal without cursor control."""

    is_first = True

    def ask(self, question: Question) -> Any:
        """Return a valid answer. Raises Back, EOFError or KeyboardInterrupt."""
        if self.is_first:
            self.say("An empty line accepts the value in [brackets]; ? explains, < goes back.")
            self.is_first = False
        self.say(f"{question.position} {question.help}")
        values = [as_typed(value) for _, value in question.choices]
        meant = {str(number): value for number, value in enumerate(values, 1)}
        meant |= {value: value for value in values}  # a value that is a number wins
        for number, (label, _) in enumerate(question.choices, 1):
            self.say(f"  {number} {label}")
        while True:
            typed = self._line(as_typed(question.offered))
            if typed == "?":
                self.show_explanation(question.name)
                continue
            value, problem = question.read(meant.get(typed, typed))
            if problem:
                self.say(problem)
                continue
            if doubt := question.doubt(value):
                self.say(f"{doubt} Type < to change it.")
            return value

    def confirm(self) -> None:
        """Return for y and an empty line. Raises KeyboardInterrupt for n."""
        self.say("Write it? (y; n saves and quits, < goes back)")
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
    """Format an answer as a user would type it: 2 instead of 2.0."""
    return str(answer).removesuffix(".0") if isinstance(answer, float) else str(answer)


def _select_all() -> None:
    """Select the text of a prompt, so that typing replaces it and an arrow key edits it."""
    buffer = get_app().current_buffer
    buffer.cursor_position = 0
    buffer.start_selection()
    assert buffer.selection_state
    buffer.selection_state.enter_shift_mode()
    buffer.cursor_position = len(buffer.text)
