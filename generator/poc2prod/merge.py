"""Merge what a template changed between two renders into what a user has made of the first."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .answers import ANSWERS, read_answers
from .git import Files, Repository, in_the_way
from .refusal import Refusal

# Which sides of a merge an unmerged file has: 1 the version before, 2 the user's, 3 the template's.
CONFLICTS = {
    "123": "both changed it",
    "23": "both added it",
    "12": "you changed it, the template has dropped it",
    "13": "you dropped it, the template has changed it",
    "1": "both moved it",
    "2": "yours, moved or in the way of the template's",
    "3": "the template's, moved or in the way of yours",
}


@dataclass(frozen=True)
class Checkout:
    """A project as its user has it, at the top of their repository or in a folder of it."""

    folder: Path
    git: Repository
    prefix: str
    head: str
    files: Files
    recorded: dict[str, Any]

    def has(self, name: str) -> bool:
        """Tell whether there is such a file, tracked by git or not."""
        return self.prefix + name in self.files or os.path.lexists(self.folder / name)

    def holding(self, files: Files) -> Files:
        """Return what the repository would be, had the project these files and no others."""
        # With the rest of a larger repository, so that nothing seems to have moved there.
        rest = {n: about for n, about in self.files.items() if not n.startswith(self.prefix)}
        return rest | {self.prefix + name: about for name, about in files.items()}


def opened(folder: Path) -> Checkout:
    """Read what has to be there before anything can start. Raises Refusal."""
    folder = Path(os.path.realpath(folder))
    if not (folder / ANSWERS).is_file():
        above = (parent for parent in folder.parents if (parent / ANSWERS).is_file())
        hint = next((f"did you mean {parent}?" for parent in above), "poc2prod adopt makes it one")
        raise Refusal(f"{folder} is no project of a template: it has no {ANSWERS}; {hint}")
    git = Repository(folder)
    try:
        git = replace(git, folder=Path(os.path.realpath(git.line("rev-parse", "--show-toplevel"))))
    except Refusal as error:
        if "not a git repository" not in str(error):
            raise
        start = "git init && git add --all && git commit"
        raise Refusal(f"{folder} is in no git repository; make one: {start}") from None
    recorded = read_answers(folder / ANSWERS)[0]
    for key, example in (("_commit", "v0.1.0"), ("_src_path", "https://...git")):
        if not recorded.get(key):
            raise Refusal(
                f"{folder / ANSWERS} has no {key}, so no update can start from it; write the one "
                f"the project was rendered with: `{key}: {example}`, and commit it"
            )
    head = git.line("rev-parse", "--verify", "--quiet", "HEAD", ok=(0, 1))
    prefix = "".join(f"{part}/" for part in folder.relative_to(git.folder).parts)
    files = git.files(head) if head else {}
    if f"{prefix}{ANSWERS}" not in files:
        raise Refusal(f"{folder / ANSWERS} is not committed; git add --all && git commit")
    if git("status", "--porcelain", "--untracked-files=no", "--", str(folder)):
        raise Refusal(f"{folder} has changes that are not committed; commit them, or git stash")
    return Checkout(folder, git, prefix, head, files, recorded)


def merge_renders(
    project: Checkout, scratch: Repository, old: Path, new: Path, owned: list[str], branch: str
) -> dict[str, list[str]]:
    """Merge what changed between two renders into what the user has; return what to say of it.

    What is in conflict stays unmerged in the scratch repository. Raises Refusal.
    """
    base, wanted = scratch.stored(old), scratch.stored(new)
    # Only Copier writes this file, so what the user has there is what the new one stands for.
    base[ANSWERS] = project.files[project.prefix + ANSWERS]
    before = scratch.tree(project.holding(base))
    moved = scratch.renames(before, scratch.tree(project.holding(wanted)), project.prefix)
    theirs, kept = _spared(project, owned, base, wanted, moved)
    first = scratch.commit(before, words="the version before")
    last = scratch.commit(scratch.tree(project.holding(theirs)), first, words=branch)
    ours = scratch.commit(f"{project.head}^{{tree}}", first, words="the project")
    dropped = {n.removeprefix(project.prefix) for n in scratch.merge(ours, last, branch)}
    tracked, result = set(project.files), scratch.rows("ls-files", "-z")
    names = {name for name in result if os.path.lexists(scratch.folder / name)}
    if clashes := in_the_way(project.git.folder, names - tracked, tracked):
        raise Refusal(
            f"git does not track {', '.join(clashes)}, and the new version would write over that; "
            "move it away, or commit it"
        )
    untracked = {name for name in dropped if project.has(name)}
    followed = scratch.renames(before, ours, project.prefix).items()
    return {
        "Yours, so kept, though the template changed them:": kept,
        "Not tracked by git, so kept, though the template changed them:": [*untracked],
        "Dropped by you, and not brought back, though the template changed them:": [
            *(dropped - untracked)
        ],
        "Moved by the template, with what is yours in them:": [
            f"{was} -> {name}" for name, was in moved.items() if project.has(was)
        ],
        "Moved by you, and changed by the template where they are now:": [
            f"{was} -> {name}" for name, was in followed if theirs.get(was) != base[was]
        ],
        "In conflict:": [
            f"{name.removeprefix(project.prefix)}: {CONFLICTS[sides]}"
            for name, sides in scratch.unmerged().items()
        ],
    }


def _spared(
    project: Checkout, owned: list[str], base: Files, wanted: Files, moved: dict[str, str]
) -> tuple[Files, list[str]]:
    """Take back what the template changed in files that are the user's; list those files."""
    from pathspec import PathSpec

    is_owned = PathSpec.from_lines("gitignore", owned).match_file
    # Where the template only moves them, they move, and keep what is in them.
    followed = {
        before: name
        for name, before in moved.items()
        if is_owned(name) and is_owned(before) and not project.has(name)
    }
    theirs, kept = dict(wanted), []
    for name in filter(is_owned, sorted({**base, **wanted})):
        if name in base:
            theirs.pop(name, None)
            theirs[followed.get(name, name)] = base[name]
            if wanted.get(name) != base[name] and name not in followed and project.has(name):
                kept.append(name)
        elif project.has(name):
            del theirs[name]
            kept += [name] * (project.files.get(project.prefix + name) != wanted[name])
    return theirs, kept
