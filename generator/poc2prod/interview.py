"""The scoping interview, on a terminal or through a pipe."""

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
from .questions import Questions, is_number
from .refusal import Refusal

SIGNS = {"min": ">= ", "max": "<= "}


def run_interview(
    questions: Questions, saved: Path, explain: Explain, console: Console
) -> dict[str, Any]:
    """Ask all questions and return the confirmed answers.

    If it is interrupted, the answers are saved to `saved`, and the next interview resumes there.
    Raises KeyboardInterrupt if it is interrupted, and Refusal if the input ends too early.
    """
    is_terminal = all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout))
    kind = TerminalPrompt if is_terminal and not console.is_dumb_terminal else PipePrompt
    prompt = kind(console, explain)
    interview = Interview(questions, saved, prompt)
    try:
        interview.run()
    except BaseException:  # Ctrl-C, end of input, a broken pipe: save the answers
        if interview.given:
            interview.save()
            prompt.say(f"Saved {interview.count()} in {saved}. Run the command again to resume.")
        raise
    with suppress(OSError):  # a backup, in case rendering fails
        interview.save()
    return interview.given


class Interview:
    """Asks the questions in order, goes back on request, and keeps the answers."""

    def __init__(
        self, questions: Questions, saved: Path, prompt: TerminalPrompt | PipePrompt
    ) -> None:
        self.questions = questions
        self.saved = saved
        self.prompt = prompt
        self.given: dict[str, Any] = {}
        self.answers, _ = questions.settle({})

    def run(self) -> None:
        """Resume from `saved`, and return when the answers are confirmed."""
        if self.saved.exists():
            given, answered_twice = read_answers(self.saved)
            self.prompt.say(f"Resuming from {self.saved}.")
            for problem in answered_twice:
                given.pop(self._report(problem), None)
            self._keep_valid(given)
        names = self._names()
        at = next((at for at, name in enumerate(names) if name not in self.given), len(names))
        while at <= len(names):
            where = (
                f"question {at + 1} of {len(names)} ({names[at]})" if names[at:] else "the summary"
            )
            try:
                if names[at:]:
                    position = f"({at + 1}/{len(names)})"
                    question = Question(
                        self.questions, names[at], position, self.given, self.answers
                    )
                    self._keep_answer(names[at], self.prompt.ask(question))
                else:
                    self._show_summary()
                    self.prompt.confirm()
                at += 1
                names = self._names()
            except Back:
                at = max(at - 1, 0)
            except EOFError:
                fix = "answer all questions, or use --answers FILE or --defaults"
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
                continue  # chosen answers stay; defaults are computed again
            if was != (now := self._default(later, self.questions.settle(given)[0])):
                del given[later]
                self.prompt.say(
                    f"The default of {later} is now {as_typed(now)}, was {as_typed(was)}"
                )
        self._keep_valid(given)

    def _default(self, name: str, answers: Mapping[str, Any]) -> Any:
        return self.questions.default(name, answers_before(answers, name))

    def _keep_valid(self, given: Mapping[Any, Any]) -> None:
        """Keep valid answers, in the order of the questions, and print why others are dropped."""
        self.answers, problems = self.questions.settle(given)
        dropped = [self._report(problem) for problem in problems]
        names = [name for name in self.answers if name in given and name not in dropped]
        self.given = {name: self.answers[name] for name in names}

    def _report(self, problem: str) -> str:
        self.prompt.say(f"Dropped: {problem}")
        return problem.partition(":")[0]

    def _show_summary(self) -> None:
        """Print all limits and the estimate; 24 lines of 80 columns hold them and the prompt."""
        questions, answers = self.questions, self.answers
        is_default, table = False, Table("limit", "value", "effect", box=None, pad_edge=False)
        for name, spec in questions.specs.items():
            if not (is_number(spec["type"]) and questions.applies(name, answers)):
                continue
            sign = SIGNS.get(name.partition("_")[0], "")
            star = "" if questions.is_asked(name, answers) else " *"
            is_default = is_default or bool(star)
            effect = questions.help(name, answers).rpartition("(")[2].rstrip(")")
            table.add_row(name, sign + as_typed(answers[name]) + star, effect)
        shown = [n for n in self._names() if n == "project_name" or questions.choices(n, answers)]
        self.prompt.say(", ".join(as_typed(answers[name]) for name in shown))
        self.prompt.console.print(table)
        if is_default:
            self.prompt.say("* default, not asked in the quick interview")
        try:
            for line in Estimator(questions, self.given).summary():
                self.prompt.say(line)
            self.prompt.say("Measured on the bundled networks. All targets: poc2prod estimate")
        except Refusal as refusal:  # a template without estimates
            self.prompt.say(str(refusal))
