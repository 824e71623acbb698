"""Merge what a template changed between two renders into what a user has made of the first."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from .answers import ANSWERS, read_answers
from .git import Files, Repository, in_the_way
from .moves import Mentions, moved_paths
from .refusal import Refusal
from .rewriting import Rewriting

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
    gone: frozenset[str] = frozenset()

    def tracked(self, name: str) -> str | None:
        """Return the mode and id of a file of the project; None if git does not track it."""
        return self.files.get(self.prefix + name)

    def has(self, name: str) -> bool:
        """Tell whether there is such a file, tracked by git or not."""
        is_there = os.path.lexists(self.folder / name) and name not in self.gone
        return self.tracked(name) is not None or is_there

    def moving(self, moves: Mapping[str, str]) -> "Checkout":
        """Return the project with files moved, as far as it has them; nothing on disk changes."""
        paths = {self.prefix + was: self.prefix + now for was, now in moves.items()}
        files = {paths.get(name, name): about for name, about in self.files.items()}
        gone = frozenset(was for was in moves if self.tracked(was) is not None)
        return replace(self, files=files, gone=gone)

    def inside(self) -> Files:
        """Return the files of the project, by their names in it."""
        start = len(self.prefix)
        return {n[start:]: about for n, about in self.files.items() if n.startswith(self.prefix)}

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
    project: Checkout,
    scratch: Repository,
    old: Path,
    new: Path,
    owned: list[str],
    branch: str,
    moves: Iterable[tuple[str, str]] = (),
) -> list[str]:
    """Merge what changed between two renders into what the user has; return what to say of it.

    What is in conflict stays unmerged in the scratch repository. `moves` are the old and new paths
    that the template lists itself. Raises Refusal.
    """
    from pathspec import PathSpec

    is_owned = PathSpec.from_lines("gitignore", owned).match_file
    rendered, wanted = scratch.stored(old), scratch.stored(new)
    # Only Copier writes this file, so what the user has there is what the new one stands for.
    rendered[ANSWERS] = project.files[project.prefix + ANSWERS]
    listed = moved_paths(moves, rendered, wanted)
    followed = _followed(project, listed, is_owned)
    rewriting = Rewriting(scratch, followed, is_owned)
    # With both sides at the new path, git merges there, however little the two files share.
    base = {followed.get(n, n): about for n, about in rewriting.rewrite(rendered).items()}
    own = project.inside()
    rewritten = project.holding(rewriting.rewrite(own))
    ours = replace(project, files=rewritten).moving(followed)
    if followed:
        base, own_files = rewriting.merge_imports(base, ours.inside(), wanted)
        ours = replace(ours, files=ours.holding(own_files))
    before = scratch.tree(ours.holding(base))
    found = scratch.renames(before, scratch.tree(ours.holding(wanted)), project.prefix)
    theirs, kept = _spared(ours, is_owned, base, wanted, found)
    absent = {was: now for was, now in followed.items() if not ours.has(now)}
    for was in absent:
        theirs.pop(was, None)  # an alias for a file that the user does not have
    first = scratch.commit(before, words="the version before")
    last = scratch.commit(scratch.tree(project.holding(theirs)), first, words=branch)
    mine = scratch.commit(scratch.tree(ours.files), first, words="the project")
    dropped = {n.removeprefix(project.prefix) for n in scratch.merge(mine, last, branch)}
    tracked, result = set(project.files), scratch.rows("ls-files", "-z")
    names = {name for name in result if os.path.lexists(scratch.folder / name)}
    if clashes := in_the_way(project.git.folder, names - tracked, tracked):
        raise Refusal(
            f"git does not track {', '.join(clashes)}, and the new version would write over that; "
            "move it away, or commit it"
        )
    moved_by_user = scratch.renames(before, mine, project.prefix)
    dropped |= {*absent.values()} - {*moved_by_user.values()}
    untracked = {name for name in dropped if ours.has(name)}
    moved = {**{was: name for name, was in found.items()}, **followed}
    edited = {was for was in moved if project.tracked(was) not in (None, rendered.get(was))}
    untouched = [was for was in moved if project.tracked(was) == rendered.get(was)]
    origins = {now: was for was, now in followed.items()}
    inside = {n.removeprefix(project.prefix) for n in names if n.startswith(project.prefix)}
    renders = {
        name: (new / name, old / origins.get(name, name)) for name in wanted if not is_owned(name)
    }
    files = {name: renders.get(name, ()) for name in inside - {ANSWERS}}
    readable = {followed.get(name, name) for name in rewriting.readable(own)}
    return [
        *_section("Yours, so kept, though the template changed them:", kept),
        *_section("Not tracked by git, so kept, though the template changed them:", untracked),
        *_section(
            "Dropped by you, and not brought back, though the template changed them:",
            dropped - untracked,
        ),
        *_section(
            "Moved by the template, with what is yours in them:",
            [f"{was} -> {moved[was]}" for was in edited],
        ),
        *[f"Moved by the template, and not edited by you: {len(untouched)}"] * bool(untouched),
        *_section(
            "Moved by you, and changed by the template where they are now:",
            [
                f"{origins.get(was, was)} -> {name}"
                for name, was in moved_by_user.items()
                if theirs.get(was) != base[was]
            ],
        ),
        *_section(
            "In conflict:",
            [
                f"{name.removeprefix(project.prefix)}: {CONFLICTS[sides]}"
                for name, sides in scratch.unmerged().items()
            ],
        ),
        *_section(
            "Lines of yours, rewritten because of the moves:",
            [
                f"{followed.get(name, name)}: {was} -> {now}"
                for name, rows in rewriting.changes(rendered, own).items()
                for was, now in rows
            ],
        ),
        *_section(
            "Imports not rewritten, because these files are not Python that can be parsed:",
            [followed.get(name, name) for name in rewriting.unreadable(own)],
        ),
        *_mentions(scratch.folder / project.prefix, files, Mentions(listed, readable)),
    ]


def _section(heading: str, names: Collection[str]) -> list[str]:
    return [heading, *(f"  {name}" for name in sorted(names))] if names else []


def _followed(
    project: Checkout, moves: Mapping[str, str], is_owned: Callable[[str], bool]
) -> dict[str, str]:
    """Choose the moves that the project can follow without writing over anything."""
    if not moves:
        return {}
    folders = {str(folder) for name in project.files for folder in PurePosixPath(name).parents}

    def is_free(name: str) -> bool:
        path = project.prefix + name
        above = {str(folder) for folder in PurePosixPath(path).parents}
        is_taken = path in project.files or path in folders or above & project.files.keys()
        return not is_taken and not in_the_way(project.folder, {name}, set())

    def can_follow(was: str, now: str) -> bool:
        if is_owned(was) and not is_owned(now):
            return False  # what is the user's stays so
        has_moved = project.tracked(was) is None and project.tracked(now) is not None
        return has_moved or is_free(now)

    return {was: now for was, now in moves.items() if can_follow(was, now)}


def _spared(
    project: Checkout,
    is_owned: Callable[[str], bool],
    base: Files,
    wanted: Files,
    moved: dict[str, str],
) -> tuple[Files, list[str]]:
    """Take back what the template changed in files that are the user's; list those files."""
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


def _mentions(folder: Path, files: Mapping[str, Collection[Path]], mentions: Mentions) -> list[str]:
    """List the user's lines that name moved files.

    `files` are those of the merged project, each with the renders from which it takes the lines
    that are not the user's.
    """
    if not mentions.moves:
        return []
    rows = []
    for name, renders in sorted(files.items()):
        if text := _text(folder / name):
            rendered = {line for path in renders for line in _text(path).split("\n")}
            rows += mentions.find(name, text, rendered)
    heading = "These lines of yours name files that have moved:"
    return [heading, *(f"  {row}" for row in rows)] if rows else []


def _text(path: Path) -> str:
    """Return the text of a file; nothing if there is none, or if it is binary."""
    if path.is_symlink() or not path.is_file():
        return ""
    content = path.read_bytes()
    return "" if b"\0" in content else content.decode("utf-8", "replace").replace("\r\n", "\n")
