"""A project as committed in the user's repository."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .addresses import without_credentials
from .answers import ANSWERS, read_answers
from .git import Files, Repository
from .refusal import Refusal

EARLIER = 20  # versions of the recorded answers to read: one per update
# A submodule has its own configuration, so `git status` must not look inside.
IN_SUBMODULES = "--ignore-submodules=dirty"


@dataclass(frozen=True)
class Checkout:
    """A committed project, at the top of the user's repository or in a folder of it."""

    folder: Path
    git: Repository
    prefix: str
    head: str
    files: Files
    recorded: dict[str, Any]
    gone: frozenset[str] = frozenset()

    def tracked(self, name: str) -> str | None:
        """Return the mode and object id of a file of the project; None if it is untracked."""
        return self.files.get(self.prefix + name)

    def inside(self, name: str) -> str:
        """Return a path of the repository relative to the project."""
        return name.removeprefix(self.prefix)

    def has(self, name: str) -> bool:
        """Whether the file exists, tracked or not."""
        is_there = os.path.lexists(self.folder / name) and name not in self.gone
        return self.tracked(name) is not None or is_there

    def with_moves(self, moves: Mapping[str, str]) -> "Checkout":
        """Return the project with its files moved; nothing on disk changes."""
        paths = {self.prefix + was: self.prefix + now for was, now in moves.items()}
        files = {paths.get(name, name): about for name, about in self.files.items()}
        gone = frozenset(was for was in moves if self.tracked(was) is not None)
        return replace(self, files=files, gone=gone)

    def with_contents(self, files: Files) -> "Checkout":
        """Return the project with new contents of some files; nothing on disk changes."""
        ours = {self.prefix + name: about for name, about in files.items()}
        return replace(self, files=self.files | ours)

    def own_files(self) -> Files:
        """Return the files of the project, by path relative to it."""
        return {
            self.inside(n): about for n, about in self.files.items() if n.startswith(self.prefix)
        }

    def with_files(self, files: Files) -> Files:
        """Return the files of the whole repository, with the project replaced by these files."""
        # Keep files outside the project, or git would take them for moved files.
        rest = {n: about for n, about in self.files.items() if not n.startswith(self.prefix)}
        return rest | {self.prefix + name: about for name, about in files.items()}


def find_top(git: Repository, remedy: str) -> Path:
    """Return the top folder of a repository.

    Raises Refusal: with a remedy if the folder is in no repository, otherwise with git's reason.
    """
    try:
        return Path(os.path.realpath(git.line("rev-parse", "--show-toplevel")))
    except Refusal as error:
        if "not a git repository" not in str(error):
            raise
        raise Refusal(f"{git.folder} is not in a git repository; {remedy}") from None


def find_earlier(git: Repository, file: Path) -> str:
    """Return the newest commit with another content of a file than it has now, or HEAD."""
    blob = git.line("hash-object", "--", str(file))
    for commit in git("log", "--format=%h", "--", str(file)).split():
        if git.line("rev-parse", f"{commit}:./{file.name}", ok=(0, 128)) not in ("", blob):
            return commit
    return "HEAD"


def find_other_source(project: Checkout, source: str) -> str:
    """Return the source that the project recorded last before this one; "" if it never changed."""
    name = f"{project.prefix}{ANSWERS}"
    log = project.git("log", f"--max-count={EARLIER}", "--format=%H", project.head, "--", name)
    for commit in log.split():
        text = project.git("show", f"{commit}:{name}", ok=(0, 128))
        found = re.search(r"^_src_path: *(.+)$", text, re.MULTILINE)
        was = without_credentials(found[1].strip().strip("'\"")) if found else source
        if was != source:
            return was
    return ""


def read_checkout(folder: Path) -> Checkout:
    """Read a committed project that can be updated. Raises Refusal."""
    folder = Path(os.path.realpath(folder))
    if not (folder / ANSWERS).is_file():
        above = (parent for parent in folder.parents if (parent / ANSWERS).is_file())
        hint = next((f"did you mean {parent}?" for parent in above), "use poc2prod adopt")
        raise Refusal(f"{folder} is not a project of a template: it has no {ANSWERS}; {hint}")
    git = Repository(folder)
    git = replace(git, folder=find_top(git, "create one: git init && git add --all && git commit"))
    recorded = read_answers(folder / ANSWERS)[0]
    for key, example in (("_commit", "v0.1.0"), ("_src_path", "https://...git")):
        if not recorded.get(key):
            raise Refusal(
                f"{folder / ANSWERS} has no {key}, which an update needs; add the one that the "
                f"project was rendered with, like `{key}: {example}`, and commit it"
            )
    head = git.line("rev-parse", "--verify", "--quiet", "HEAD", ok=(0, 1))
    prefix = "".join(f"{part}/" for part in folder.relative_to(git.folder).parts)
    files = git.files(head) if head else {}
    if f"{prefix}{ANSWERS}" not in files:
        raise Refusal(f"{folder / ANSWERS} is not committed; git add --all && git commit")
    if git("status", "--porcelain", "--untracked-files=no", IN_SUBMODULES, "--", str(folder)):
        raise Refusal(f"{folder} has uncommitted changes; commit or stash them")
    return Checkout(folder, git, prefix, head, files, recorded)
