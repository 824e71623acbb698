"""Render a template as Copier does, for less than a third of the work.

Copier compiles each of the 2,000 expressions of the template anew in every render, and asks git
once per file about a setting that matters inside a git repository only. A suite that renders two
hundred times would spend four minutes of CPU on that.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

import copier
import jinja2
import pytest
from copier._main import Worker


@contextmanager
def templates_compiled_once() -> Iterator[None]:
    """Compile the same text with the same settings of Jinja once in this process."""
    compiled: dict[tuple[object, ...], CodeType] = {}
    honest = jinja2.Environment.compile

    def compile_once(
        self: jinja2.Environment, source: Any, name: Any = None, filename: Any = None, *more: Any
    ) -> Any:
        if not isinstance(source, str) or any(more):
            return honest(self, source, name, filename, *more)
        names = frozenset(self.filters), frozenset(self.tests)  # unknown ones are refused
        settings = (type(self), self.lexer, *self.extensions, self.autoescape, self.finalize)
        key = (*settings, *names, source, name, filename)
        if key not in compiled:
            compiled[key] = honest(self, source, name, filename)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2.Environment, "compile", compile_once)
        yield


def render_to(folder: Path, source: Path, answers: dict[str, Any]) -> Path:
    """Render into a folder that is in no git repository."""
    with pytest.MonkeyPatch.context() as patch:
        # Where `core.fileMode` is off, Copier notes executable files in the index: there is none.
        name = "_sync_git_index_executable_bit"
        patch.setattr(Worker, name, lambda *_: None, raising=False)
        copier.run_copy(str(source), folder, data=answers, defaults=True, quiet=True)
    return folder
