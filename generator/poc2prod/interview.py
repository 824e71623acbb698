"""The scoping meeting: every question in its turn, on a terminal or line by line from a pipe."""

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from itertools import takewhile
from pathlib import Path
from textwrap import fill
from typing import Any

import questionary
import yaml
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.filters import Always, Condition
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent, merge_key_bindings
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from .answers import read_answers
from .estimate import Estimator
from .questions import Questions
from .refusal import Refusal

Explain = Callable[[str], str]
SIGNS = {"min": ">= ", "max": "<= "}
KEYS = "Ctrl-B back  {} explain  Ctrl-C save and stop"


def hold(questions: Questions, saved: Path, explain: Explain, console: Console) -> dict[str, Any]:
    """Ask every question of the meeting and return the answers, once they are agreed to.

    However it ends, they are kept in `saved`, from where the next meeting goes on.
    Raises KeyboardInterrupt when it is stopped, and Refusal when the input ends too early.
    """
    is_terminal = all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout))
    front = (Screen if is_terminal and not console.is_dumb_terminal else Lines)(console, explain)
    meeting = Meeting(questions, saved, front)
    try:
        meeting.run()
    except BaseException:  # Ctrl-C, the end of the input, a broken pipe: no answer is lost
        if meeting.given:
            meeting.save()
            front.say(f"Saved {meeting.count()} in {saved}; the same command goes on from there.")
        raise
    with suppress(OSError):  # a safeguard for what follows, which may write where this cannot
        meeting.save()
    return meeting.given


class Back(Exception):
    """The question before, once more."""


class Asked:
    """One question as it stands at this point of the meeting."""

    def __init__(self, meeting: "Meeting", name: str, position: str) -> None:
        self.name, self.position, self.given = name, position, meeting.given
        self.questions = questions = meeting.questions
        self.before = before(meeting.answers, name)
        self.help = questions.help(name, self.before)
        self.choices = questions.choices(name, self.before)
        self.default = questions.default(name, self.before)
        self.offered = self.given.get(name, self.default)

    def read(self, typed: str) -> tuple[Any, str]:
        """Return the answer that was typed, and the rule that it breaks, if any."""
        value = self.questions.parsed(self.name, typed.strip())
        return value, self.problem(value)

    def problem(self, value: Any) -> str:
        """Say which rule an answer breaks, if any."""
        return self.questions.problem(self.name, value, self.before)

    def estimate(self, value: Any) -> str:
        """Say in one line what this and all other answers would take."""
        try:
            return Estimator(self.questions, {**self.given, self.name: value}).line()
        except Refusal:  # a template need not estimate anything
            return ""


class Front:
    """What faces those who answer."""

    def __init__(self, console: Console, explain: Explain) -> None:
        self.console, self.explain = console, explain

    def say(self, text: str) -> None:
        """Tell something as it is: a rule may hold [brackets]."""
        self.console.print(text, soft_wrap=True, markup=False, highlight=False)

    def show_explanation(self, name: str) -> None:
        """Show all there is to know about a question."""
        self.console.print(Markdown(self.explain(name)))


class Screen(Front):
    """A terminal, where the estimate follows every key."""

    def ask(self, asked: Asked) -> Any:
        """Return a right answer. Raises Back, EOFError or KeyboardInterrupt if there is none."""
        keys = KeyBindings()

        def explain(event: KeyPressEvent) -> None:
            run_in_terminal(lambda: self.show_explanation(asked.name))  # what is typed stays

        keys.add("f1")(explain)
        if asked.choices:
            keys.add("?")(explain)
            return self._answer(self._choice(asked), keys)
        return asked.read(self._answer(self._text(asked, keys), keys))[0]

    def confirm(self) -> None:
        """Return for y and Enter; n is the wish to change something."""
        hint = "(Y/n; n and Ctrl-B go back, Ctrl-C saves and stops) "
        question = questionary.confirm("Write it?", qmark="", instruction=hint)
        if not self._answer(question, KeyBindings()):
            raise Back

    def _choice(self, asked: Asked) -> questionary.Question:
        estimates = {value: asked.estimate(value) for _, value in asked.choices}
        differ = len(set(estimates.values())) > 1
        choices = [
            questionary.Choice(
                label,
                value,
                disabled=asked.problem(value) or None,
                description=self._wrapped(estimates[value], "  Description:") if differ else None,
            )
            for label, value in asked.choices
        ]
        default = None if asked.problem(asked.offered) else asked.offered
        return questionary.select(
            self._words(asked),
            choices,
            default,
            qmark=asked.position,
            instruction=KEYS.format("?"),
        )

    def _text(self, asked: Asked, keys: KeyBindings) -> questionary.Question:
        default, estimate = as_typed(asked.default), cache(asked.estimate)

        @keys.add("enter", filter=Condition(lambda: not get_app().current_buffer.text))
        def take_default(event: KeyPressEvent) -> None:
            event.current_buffer.text = default  # so that it stays on the screen
            event.current_buffer.validate_and_handle()

        def toolbar() -> str:
            value, problem = asked.read(get_app().current_buffer.text or default)
            line = "" if problem else estimate(value)  # a broken rule is shown right above
            return "\n".join(
                f" {self._wrapped(text)}" for text in (line, KEYS.format("F1")) if text
            )

        return questionary.text(
            self._words(asked),
            default=as_typed(asked.given.get(asked.name, "")),
            validate=lambda typed: asked.read(typed or default)[1] or True,
            qmark=asked.position,
            placeholder=[("fg:ansibrightblack", default)],
            bottom_toolbar=toolbar,
        )

    def _words(self, asked: Asked) -> str:
        return f"{self._wrapped(asked.help, asked.position)}\n "

    def _wrapped(self, text: str, behind: str = "") -> str:
        """Break lines between words and align them; a prompt alone would break them anywhere."""
        indent = " " * (len(behind) + 1)
        width = self.console.width
        return fill(text, width, initial_indent=indent, subsequent_indent=indent).strip()

    def _answer(self, question: questionary.Question, keys: KeyBindings) -> Any:
        @keys.add("c-b")
        def go_back(event: KeyPressEvent) -> None:
            event.app.erase_when_done = True
            event.app.exit(exception=Back())

        application = question.application
        own = application.key_bindings or KeyBindings()
        application.key_bindings = merge_key_bindings([own, keys])
        for window in application.layout.find_all_windows():
            window.wrap_lines = Always()  # labels and rules are whole on a narrow terminal, too
        return question.unsafe_ask()


class Lines(Front):
    """A pipe, or a terminal without a cursor."""

    def ask(self, asked: Asked) -> Any:
        """Return a right answer. Raises Back, EOFError or KeyboardInterrupt if there is none."""
        self.say(f"{asked.position} {asked.help}")
        values = [as_typed(value) for _, value in asked.choices]
        meant = {str(number): value for number, value in enumerate(values, 1)}
        meant |= {value: value for value in values}  # which win, where they are numbers
        for number, (label, _) in enumerate(asked.choices, 1):
            self.say(f"  {number} {label}")
        while True:
            typed = self._line(as_typed(asked.offered))
            if typed == "?":
                self.show_explanation(asked.name)
                continue
            value, problem = asked.read(meant.get(typed, typed))
            if not problem:
                return value
            self.say(problem)

    def confirm(self) -> None:
        """Return for y and an empty line; n is the wish to stop."""
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


class Meeting:
    """The way through the questions, whoever answers them."""

    def __init__(self, questions: Questions, saved: Path, front: Screen | Lines) -> None:
        self.questions, self.saved, self.front = questions, saved, front
        self.given: dict[str, Any] = {}
        self.answers, _ = questions.settle({})

    def run(self) -> None:
        """Go on where `saved` ends, and return when everything is agreed to."""
        if self.saved.exists():
            given, answered_twice = read_answers(self.saved)
            self.front.say(f"Going on from {self.saved}.")
            for problem in answered_twice:
                given.pop(self._not_kept(problem), None)
            self._keep(given)
        asked = self._asked()
        at = next((at for at, name in enumerate(asked) if name not in self.given), len(asked))
        while at <= len(asked):
            where = f"question {at + 1} of {len(asked)} ({asked[at]})" if asked[at:] else "the end"
            try:
                if asked[at:]:
                    position = f"({at + 1}/{len(asked)})"
                    self._take(asked[at], self.front.ask(Asked(self, asked[at], position)))
                else:
                    self._show_promises()
                    self.front.confirm()
                at, asked = at + 1, self._asked()
            except Back:
                at = max(at - 1, 0)
            except EOFError:
                way_out = "answer it, or use --answers FILE or --defaults"
                raise Refusal(f"input ended at {where}; {way_out}") from None

    def count(self) -> str:
        """Say how many answers there are."""
        return f"{len(self.given)} answer{'s' * (len(self.given) != 1)}"

    def save(self) -> None:
        """Write the answers, all or nothing, as a file that `--answers` reads, too."""
        part = self.saved.with_name(f"{self.saved.name}.part")
        try:
            text = yaml.safe_dump(self.given, sort_keys=False, allow_unicode=True)
            part.write_text(text, "utf-8")
            part.replace(self.saved)
        finally:
            part.unlink(missing_ok=True)

    def _asked(self) -> list[str]:
        return [name for name in self.answers if self.questions.is_asked(name, self.answers)]

    def _take(self, name: str, value: Any) -> None:
        given, names = {**self.given, name: value}, list(self.answers)
        for later in filter(self.given.__contains__, names[names.index(name) + 1 :]):
            if given[later] != (was := self._default(later, self.answers)):
                continue  # somebody chose it; what nobody chose moves along
            if was != (now := self._default(later, self.questions.settle(given)[0])):
                del given[later]
                self.front.say(f"{later} was {as_typed(was)} by default, now {as_typed(now)}")
        self._keep(given)

    def _default(self, name: str, answers: Mapping[str, Any]) -> Any:
        return self.questions.default(name, before(answers, name))

    def _keep(self, given: Mapping[Any, Any]) -> None:
        """Keep what is right, in the order of the questions, and say why the rest is not."""
        self.answers, problems = self.questions.settle(given)
        dropped = [self._not_kept(problem) for problem in problems]
        names = [name for name in self.answers if name in given and name not in dropped]
        self.given = {name: self.answers[name] for name in names}

    def _not_kept(self, problem: str) -> str:
        self.front.say(f"Not kept: {problem}")
        return problem.partition(":")[0]

    def _show_promises(self) -> None:
        """Show what every number decides, and what keeping them all would take."""
        table = Table(
            "answer", "value", "what it decides", title="What you promise", title_justify="left"
        )
        for name, spec in self.questions.specs.items():
            if self.questions.is_open(name) and spec["type"] in ("int", "float"):
                sign = SIGNS.get(name.partition("_")[0], "")
                decides = self.questions.help(name, self.answers).rpartition("(")[2].rstrip(")")
                table.add_row(name, sign + as_typed(self.answers[name]), decides)
        self.front.console.print(table)
        try:
            estimator = Estimator(self.questions, self.given)
            self.front.console.print(estimator.table())
            self.front.console.print(estimator.basis)
        except Refusal as refusal:  # a template need not estimate anything
            self.front.say(str(refusal))


def before(answers: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the answers to the questions before this one."""
    return dict(takewhile(lambda answer: answer[0] != name, answers.items()))


def as_typed(answer: Any) -> str:
    """Write an answer the way somebody would type it."""
    return str(answer).removesuffix(".0") if isinstance(answer, float) else str(answer)
