"""The scoping interview, on a terminal or line by line from a pipe."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from .answers import read_answers
from .estimate import Estimator
from .prompts import (
    Back,
    Explain,
    PipePrompt,
    Question,
    TerminalPrompt,
    answers_before,
    as_typed,
)
from .questions import Questions
from .refusal import Refusal

SIGNS = {"min": ">= ", "max": "<= "}


def run_interview(
    questions: Questions, saved: Path, explain: Explain, console: Console
) -> dict[str, Any]:
    """Ask every question and return the answers, once they are confirmed.

    However it ends, the answers are kept in `saved`, where the next interview continues.
    Raises KeyboardInterrupt when it is stopped, and Refusal when the input ends too early.
    """
    is_terminal = all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout))
    kind = TerminalPrompt if is_terminal and not console.is_dumb_terminal else PipePrompt
    prompt = kind(console, explain)
    interview = Interview(questions, saved, prompt)
    try:
        interview.run()
    except BaseException:  # Ctrl-C, end of input, a broken pipe: keep the answers
        if interview.given:
            interview.save()
            prompt.say(
                f"Saved {interview.count()} in {saved}; the same command goes on from there."
            )
        raise
    with suppress(OSError):  # a safeguard for what follows, which may write where this cannot
        interview.save()
    return interview.given


class Interview:
    """Asks the questions in order, back and forth, and keeps the answers."""

    def __init__(
        self, questions: Questions, saved: Path, prompt: TerminalPrompt | PipePrompt
    ) -> None:
        self.questions = questions
        self.saved = saved
        self.prompt = prompt
        self.given: dict[str, Any] = {}
        self.answers, _ = questions.settle({})

    def run(self) -> None:
        """Continue where `saved` ends, and return when everything is confirmed."""
        if self.saved.exists():
            given, answered_twice = read_answers(self.saved)
            self.prompt.say(f"Going on from {self.saved}.")
            for problem in answered_twice:
                given.pop(self._not_kept(problem), None)
            self._keep_valid(given)
        names = self._names()
        at = next((at for at, name in enumerate(names) if name not in self.given), len(names))
        while at <= len(names):
            where = f"question {at + 1} of {len(names)} ({names[at]})" if names[at:] else "the end"
            try:
                if names[at:]:
                    position = f"({at + 1}/{len(names)})"
                    question = Question(
                        self.questions, names[at], position, self.given, self.answers
                    )
                    self._keep_answer(names[at], self.prompt.ask(question))
                else:
                    self._show_promises()
                    self.prompt.confirm()
                at += 1
                names = self._names()
            except Back:
                at = max(at - 1, 0)
            except EOFError:
                fix = "answer it, or use --answers FILE or --defaults"
                raise Refusal(f"input ended at {where}; {fix}") from None

    def count(self) -> str:
        return f"{len(self.given)} answer{'s' * (len(self.given) != 1)}"

    def save(self) -> None:
        """Write the answers atomically, as a file that `--answers` can read."""
        part = self.saved.with_name(f"{self.saved.name}.part")
        try:
            text = yaml.safe_dump(self.given, sort_keys=False, allow_unicode=True)
            part.write_text(text, "utf-8")
            part.replace(self.saved)
        finally:
            part.unlink(missing_ok=True)

    def _names(self) -> list[str]:
        return [name for name in self.answers if self.questions.is_asked(name, self.answers)]

    def _keep_answer(self, name: str, value: Any) -> None:
        given, names = {**self.given, name: value}, list(self.answers)
        for later in filter(self.given.__contains__, names[names.index(name) + 1 :]):
            if given[later] != (was := self._default(later, self.answers)):
                continue  # an answer that was chosen stays; a default follows the answers before it
            if was != (now := self._default(later, self.questions.settle(given)[0])):
                del given[later]
                self.prompt.say(f"{later} was {as_typed(was)} by default, now {as_typed(now)}")
        self._keep_valid(given)

    def _default(self, name: str, answers: Mapping[str, Any]) -> Any:
        return self.questions.default(name, answers_before(answers, name))

    def _keep_valid(self, given: Mapping[Any, Any]) -> None:
        """Keep valid answers, in the order of the questions, and print why others are not kept."""
        self.answers, problems = self.questions.settle(given)
        dropped = [self._not_kept(problem) for problem in problems]
        names = [name for name in self.answers if name in given and name not in dropped]
        self.given = {name: self.answers[name] for name in names}

    def _not_kept(self, problem: str) -> str:
        self.prompt.say(f"Not kept: {problem}")
        return problem.partition(":")[0]

    def _show_promises(self) -> None:
        table = Table(
            "answer", "value", "what it decides", title="What you promise", title_justify="left"
        )
        for name, spec in self.questions.specs.items():
            if self.questions.is_open(name) and spec["type"] in ("int", "float"):
                sign = SIGNS.get(name.partition("_")[0], "")
                decides = self.questions.help(name, self.answers).rpartition("(")[2].rstrip(")")
                table.add_row(name, sign + as_typed(self.answers[name]), decides)
        self.prompt.console.print(table)
        try:
            estimator = Estimator(self.questions, self.given)
            self.prompt.console.print(estimator.table())
            self.prompt.console.print(estimator.basis)
        except Refusal as refusal:  # a template need not estimate anything
            self.prompt.say(str(refusal))
