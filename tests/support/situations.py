"""A situation in which a project is updated, and the expected result."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from repository import commit_files, git, write_files
from small_template import Files, contents, expect_refusal, release_template, run, state

BOTH = "both sides, between markers"


@dataclass(frozen=True)
class Situation:
    """A first release, changes by the second one and by the user, and the merged files."""

    name: str
    first: Files
    second: Files
    user: Files
    after: Files
    status: int = 0
    answers: tuple[str, ...] = ()
    prints: str = ""
    settings: dict[str, str] = field(default_factory=dict)


def check_nothing_is_lost(
    case: Situation, tmp_path: Path, start_project: Callable[[Files, Path], None]
) -> None:
    """Update, and check that every line of the user is kept and the result is as expected."""
    start_project(case.first, tmp_path)
    project = tmp_path / "mine"
    release_template(tmp_path / "source", case.second, "v2.0.0")
    original = {line for text in contents(project).values() for line in text.splitlines()}
    write_files(project, case.user)
    if not case.settings:
        commit_files(project)
    before, kept = state(project), contents(project)
    wrote = {line for text in kept.values() for line in text.splitlines()} - original

    if case.status == 2:
        assert case.prints in expect_refusal(project, *case.answers)
        return
    status, words = run(project, *case.answers)
    assert status == case.status, words
    assert case.prints in words
    assert state(project) == before
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
    if status:
        result = tmp_path / "mine-template-v2.0.0"
        git(result, "rev-parse", "--verify", "template/v2.0.0")
        assert git(result, "diff", "--name-only", "--diff-filter=U")
    else:
        git(project, "merge", "--quiet", "--ff-only", "template/v2.0.0")
        assert git(project, "status", "--porcelain", "--untracked-files=no") == ""
        result = project
    merged = contents(result)
    untracked = {name: kept[name] for name in kept if name not in merged and result != project}
    lines = {line for text in [*merged.values(), *untracked.values()] for line in text.splitlines()}
    assert wrote <= lines
    for name, text in case.after.items():
        if text is None:
            assert name not in merged
        elif text is BOTH:
            assert (
                b"<<<<<<< HEAD\n" in merged[name] and b">>>>>>> template/v2.0.0\n" in merged[name]
            )
            theirs = case.second[name]
            assert isinstance(theirs, str)
            assert set(theirs.encode().splitlines()) <= set(merged[name].splitlines())
        else:
            assert merged[name] == (text.encode() if isinstance(text, str) else text)
