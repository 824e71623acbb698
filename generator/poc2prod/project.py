"""Create a project, completely or not at all."""

import os
import re
import shlex
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .answers import read_answers
from .estimate import cheapest_fix
from .pytorch import BUILD
from .questions import Questions
from .refusal import Refusal
from .render import render
from .template import Template

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Project:
    """A project that was just created."""

    folder: Path
    answers: dict[str, Any]
    next_steps: str
    warnings: list[str]


def create(
    template: Template,
    questions: Questions,
    given: Mapping[Any, Any],
    folder: Path,
    model: Sequence[Path] = (),
) -> Project:
    """Render a template into a folder, with defaults for questions that are not in `given`.

    `model` are the files of a trained model, which are copied into `task/`; the first one is named
    `model` there, with its own ending.

    Raises Refusal, with all problems, before anything is written.
    """
    answers, wrong = questions.settle(given)
    if wrong:
        raise Refusal(*wrong)
    where = {"dst_path": shlex.quote(str(folder))}
    message = questions.settings.get("_message_after_copy", f"{folder} is ready.")
    next_steps = questions.text(message, {**answers, "_copier_conf": where})
    task = Path("src", str(answers.get("package_name", "")), "task")
    names = [Path(f"model{path.suffix}" if path is model[0] else path.name) for path in model]
    more = {task / name: path for name, path in zip(names, model, strict=False)}
    # Copier does not know which default `choose_build` chose.
    data = {name: answers[name] for name in (BUILD,) if name in answers} | dict(given)
    return Project(folder, answers, next_steps, _write(template, data, folder, more))


def answers_from(path: Path | None, questions: Questions) -> dict[str, Any]:
    """Read the answers in a file; return no answers without a file.

    Raises Refusal with all problems of the file.
    """
    if not path:
        return {}
    given, twice = read_answers(path)
    answers, wrong = questions.settle(given)
    if twice + wrong:
        fixes = (problem + cheapest_fix(questions, given, problem) for problem in wrong)
        raise Refusal(*twice, *fixes)
    return {str(name): answers[str(name)] for name in given}


def name_from(folder: Path, questions: Questions) -> Questions:
    """Offer the name of the destination as the name of the project, if it is valid."""
    if "project_name" not in questions.specs:
        return questions
    name = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")
    before, _ = questions.settle({}, until="project_name")
    if questions.problem("project_name", name, before):
        return questions
    return questions.with_default("project_name", name)


def check_destination(destination: Path) -> Path:
    """Return the absolute path of a destination: a missing or an empty folder.

    Raises Refusal for any other destination, and if git is not installed.
    """
    if not shutil.which("git"):
        raise Refusal("git is not installed, and later updates need it: apt install git")
    folder = Path(os.path.realpath(destination))  # unlike resolve(), accepts link loops
    is_file = folder.exists() and not folder.is_dir()
    if is_file or (folder.is_dir() and any(folder.iterdir())):
        others = (folder.with_name(f"{folder.name}-{number}") for number in count(2))
        another = next(path for path in others if not path.exists())
        reason = "is a file" if is_file else "is not empty"
        raise Refusal(f"{destination} {reason}; choose another folder, like {another}")
    if not folder.parent.is_dir():
        parent = shlex.quote(str(folder.parent))
        raise Refusal(f"{folder.parent} does not exist; create it first: mkdir -p {parent}")
    return folder


def _write(
    template: Template, given: dict[str, Any], folder: Path, more: Mapping[Path, Path]
) -> list[str]:
    """Render next to the destination, then move the files there; return warnings.

    `more` are further files, by their path in the project.
    """
    # An existing folder is not replaced: it may be a mount, or the working directory of a shell.
    existed = folder.is_dir()
    with _workspace(folder if existed else folder.parent) as workspace:
        rendered = workspace / folder.name
        warned = render(template, given, rendered)
        try:
            for path, source in more.items():
                shutil.copyfile(source, rendered / path)
        except OSError as error:
            raise Refusal(f"{source} cannot be copied; {error.strerror}") from None
        try:
            with _ignore_interrupts():
                if existed:
                    for path in list(rendered.iterdir()):
                        path.rename(folder / path.name)
                else:
                    rendered.replace(folder)
        except OSError as error:
            raise Refusal(f"{folder} cannot be written to; {error.strerror}") from None
    return warned


@contextmanager
def _workspace(parent: Path) -> Iterator[Path]:
    """Make a temporary folder inside `parent`, and remove it afterwards."""
    try:
        with _ignore_interrupts():
            workspace = TemporaryDirectory(prefix=".poc2prod-", dir=parent)
    except OSError as error:
        raise Refusal(f"{parent} cannot be written to; {error.strerror}") from None
    try:
        yield Path(workspace.name)
    finally:
        with _ignore_interrupts():
            workspace.cleanup()


@contextmanager
def _ignore_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C during a step that must not stop halfway."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
