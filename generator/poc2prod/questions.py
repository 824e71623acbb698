"""Read the questions of a template from its copier.yml."""

import difflib
import math
import reprlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import jinja2
import yaml
from jinja2.exceptions import SecurityError
from jinja2.sandbox import SandboxedEnvironment

from .addresses import redact
from .files import read_inside, read_text
from .refusal import Refusal
from .units import convert, parse_number, unit_of

WANTED = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}
YES = ("true", "yes", "on", "y", "t", "1")
CASTS: Mapping[str, Callable[[Any], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda value: str(value).strip().lower() in YES,
}
MAX_LENGTH = 1_000_000  # of a text that a template repeats
MAX_POWER = 1000  # of both numbers of `**`
UNUSABLE = (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, RecursionError)
# Copier's own default filters; copier.yml may use any of them.
FILTERS = "jinja2_ansible_filters.AnsibleCoreFiltersExtension"


@dataclass(frozen=True)
class Questions:
    """The questions of copier.yml, in its order, with its defaults, choices and validators."""

    specs: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    environment: jinja2.Environment

    @classmethod
    def read(cls, root: Path, full: bool = False) -> "Questions":
        """Read the copier.yml of a template; with `full`, for the full interview.

        Raises Refusal if the file is not valid.
        """
        path = root / "copier.yml"
        try:
            config = dict(yaml.safe_load(read_text(root, Path("copier.yml"))))
        except (yaml.YAMLError, ValueError, TypeError, RecursionError):
            raise Refusal(f"{path}: not a YAML mapping of questions") from None
        specs = {name: spec for name, spec in config.items() if not str(name).startswith("_")}
        for name, spec in specs.items():
            if not (isinstance(spec, dict) and spec.get("type") in WANTED and "default" in spec):
                wanted = ", ".join(WANTED)
                raise Refusal(f"{path}: {name} needs a default and one of the types {wanted}")
        if full and "depth" in specs:
            specs["depth"] = specs["depth"] | {"default": "full"}
        settings = {name: value for name, value in config.items() if name not in specs}
        options = {"keep_trailing_newline": True, **settings.get("_envops", {})}
        strict = "Strict" in str(options.pop("undefined", ""))
        try:
            environment = _Sandbox(
                loader=jinja2.FunctionLoader(partial(_load, root)),
                extensions=[FILTERS],
                undefined=jinja2.StrictUndefined if strict else jinja2.Undefined,
                **options,
            )
        except TypeError as error:
            raise Refusal(f"{path}: _envops is not valid; {error}") from None
        # The prompts parse the same tables dozens of times.
        environment.filters["from_yaml"] = cache(environment.filters["from_yaml"])
        return cls(specs, settings, environment)

    def settle(
        self, given: Mapping[Any, Any], until: str | None = None
    ) -> tuple[dict[str, Any], list[str]]:
        """Return an answer to every question, from `given` or by default, and all problems.

        With `until`, answer only the questions before that one.
        """
        problems = [self._unknown(name, given[name]) for name in given if name not in self.specs]
        answers: dict[str, Any] = {}
        for name, spec in self.specs.items():
            if name == until:
                break
            # An invalid answer is replaced by the default, to validate the answers after it.
            answers[name] = self.default(name, answers)
            if name not in given:
                continue
            if problem := self.problem(name, given[name], answers):
                problems.append(f"{name}: got {describe(given[name])}; {problem}")
            else:
                answers[name] = CASTS[spec["type"]](given[name])
        return answers, problems

    def problem(self, name: str, value: Any, answers: Mapping[str, Any]) -> str:
        """Return the rule that an answer breaks, with a valid example; "" if it is valid.

        `answers` are the answers to earlier questions.
        """
        spec = self.specs[name]
        rules = {choice: rule for _, choice, rule in self._choices(name, answers)}
        choices = [choice for choice, rule in rules.items() if not rule]
        if not self.is_open(name):
            return "derived from other answers; leave it out"
        if choices and not any(value == choice and fits(value, spec["type"]) for choice in choices):
            rule = next(
                (f"{rule}; " for choice, rule in rules.items() if rule and value == choice), ""
            )
            return f"{rule}one of {', '.join(map(str, choices))}{did_you_mean(value, choices)}"
        if not fits(value, spec["type"]):
            read = convert(value, name) if is_number(spec["type"]) else None
            if read is not None:
                return f"{self.wanted(name)}; write {read:.12g}"
            right = describe(self.default(name, answers)).strip(chr(39))
            return f"{self.wanted(name)}, like {right}"
        value = CASTS[spec["type"]](value)
        return self.text(spec.get("validator", ""), {**answers, name: value}).strip()

    def with_default(self, name: str, default: str) -> "Questions":
        return replace(self, specs=self.specs | {name: self.specs[name] | {"default": default}})

    def wanted(self, name: str) -> str:
        """Describe the type and the unit of an answer, like "a number in ms"."""
        kind = self.specs[name]["type"]
        unit = unit_of(name) if is_number(kind) else ""
        return f"{WANTED[kind]} {unit}".strip()

    def is_open(self, name: str) -> bool:
        """Whether a question can be answered; the others are derived."""
        return (
            self.specs[name].get("when") is not False and self.specs[name].get("ask") is not False
        )

    def is_asked(self, name: str, answers: Mapping[str, Any]) -> bool:
        """Whether this interview asks a question, given the answers."""
        return self.is_open(name) and CASTS["bool"](
            self.text(self.specs[name].get("ask", True), answers)
        )

    def applies(self, name: str, answers: Mapping[str, Any]) -> bool:
        """Whether a question has a meaning, given the answers: a full interview would ask it."""
        return self.is_asked(name, {**answers, "depth": "full"})

    def help(self, name: str, answers: Mapping[str, Any]) -> str:
        """Return the question in one line; `copier.yml` has two, because Copier does not wrap."""
        return " ".join(self.text(self.specs[name].get("help", name), answers).split())

    def choices(self, name: str, answers: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """List the choices that fit the answers as labels and values; empty if there are none."""
        return [(label, value) for label, value, rule in self._choices(name, answers) if not rule]

    def parse(self, name: str, typed: str) -> Any:
        """Convert typed text to the question's type; return it unchanged if that fails.

        A number may have thousands separators, a decimal comma and the question's unit.
        """
        kind = self.specs[name]["type"]
        try:
            return {"true": True, "false": False}[typed] if kind == "bool" else CASTS[kind](typed)
        except (ValueError, KeyError):
            number = parse_number(typed, name) if is_number(kind) else None
        is_exact = number is not None and math.isfinite(number) and CASTS[kind](number) == number
        return CASTS[kind](number) if is_exact else typed

    def text(self, template: Any, context: Mapping[str, Any]) -> str:
        """Render a piece of copier.yml. Raises Refusal if that fails."""
        try:
            return _compile(self.environment, str(template)).render(context)
        except UNUSABLE as error:
            raise Refusal(f"copier.yml cannot be used: {error}, in {template!r}") from error

    def default(self, name: str, answers: Mapping[str, Any]) -> Any:
        """Compute the default of a question from the answers to earlier ones."""
        spec = self.specs[name]
        default = self.text(spec["default"], answers)
        try:
            return CASTS[spec["type"]](default)
        except (ValueError, yaml.YAMLError):
            wanted = WANTED[spec["type"]]
            raise Refusal(f"copier.yml: the default of {name} is {default!r}; {wanted}") from None

    def _choices(self, name: str, answers: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
        """List all choices as labels, values, and the rule that excludes one, or ""."""
        choices = self.specs[name].get("choices", [])
        for pair in choices.items() if isinstance(choices, dict) else choices:
            label, value = pair if isinstance(pair, (list, tuple)) else (pair, pair)
            rule = ""
            if isinstance(value, dict):
                rule, value = value.get("validator", ""), value["value"]
            yield self.text(label, answers).strip(), value, self.text(rule, answers).strip()

    def _unknown(self, name: Any, value: Any) -> str:
        open_to_answer = list(filter(self.is_open, self.specs))
        hint = did_you_mean(name, open_to_answer) or f"; questions: {', '.join(open_to_answer)}"
        key = name if isinstance(name, str) and name.isprintable() else describe(name)
        return f"{key}: got {describe(value)}; no such question{hint}"


class _Sandbox(SandboxedEnvironment):
    """Jinja without expressions that take all memory, like 'x' * 3000000000."""

    intercepted_binops = frozenset(["*", "**"])

    def call_binop(
        self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any
    ) -> Any:
        if operator == "*":
            counts = [side for side in (left, right) if isinstance(side, int)]
            lengths = [len(side) for side in (left, right) if isinstance(side, (str, list, tuple))]
            is_too_large = any(n * length > MAX_LENGTH for n in counts for length in lengths)
        else:
            is_too_large = max(abs(left), abs(right)) > MAX_POWER
        if is_too_large:
            raise SecurityError(f"the result of {operator} is too large")
        return super().call_binop(context, operator, left, right)


def _load(root: Path, name: str) -> str | None:
    """Return a file that a template includes; None if it does not exist."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        return None
    try:
        return read_inside(root, path).decode("utf-8")
    except (OSError, ValueError):
        return None


@cache
def _compile(environment: jinja2.Environment, text: str) -> jinja2.Template:
    return environment.from_string(text)


def is_number(type_name: str) -> bool:
    return type_name in ("int", "float")


def fits(value: Any, type_name: str) -> bool:
    """Whether a value read from YAML has the type of a question, and is finite."""
    if type_name in ("str", "bool"):
        return isinstance(value, str if type_name == "str" else bool)
    allowed = int if type_name == "int" else (int, float)
    is_allowed = isinstance(value, allowed) and not isinstance(value, bool)
    return is_allowed and abs(value) <= sys.float_info.max  # false for NaN, too


def describe(value: Any) -> str:
    """Write a value in one short line, as a user would type it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return reprlib.repr(redact(value) if isinstance(value, str) else value)
    except ValueError:  # Python does not print integers of thousands of digits
        return "a number of thousands of digits"


def did_you_mean(value: Any, candidates: Iterable[Any]) -> str:
    close = difflib.get_close_matches(str(value).lower(), map(str, candidates), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
