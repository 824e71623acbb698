"""Adopt an existing repository: commit the files that it lacks to a new branch."""

import os
import shlex
import shutil
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from .answers import ANSWERS, read_answers
from .checkout import IN_SUBMODULES, find_top
from .git import Repository, without_pointers
from .output import plain, say
from .project import answers_from, create
from .questions import Questions
from .refusal import Refusal
from .template import default_source, open_template

BRANCH = "poc2prod/adopt"
NEW, SAME = "new", "identical"
IGNORE = ".gitignore"


def adopt(folder: Path, answers: Path | None, source: str | None, console: Console) -> int:
    """Commit the rendered files that the repository lacks to a new branch; list collisions.

    Raises Refusal before anything is changed. Creating the branch is the last step; the files, the
    index and the current branch of the user never change.
    """
    if not shutil.which("git"):
        raise Refusal("git is not installed: apt install git")
    folder = Path(os.path.realpath(folder))
    with without_pointers(), TemporaryDirectory(prefix="poc2prod-") as temporary:
        git = Repository(folder)
        _check(git)
        with open_template(source or default_source()) as template:
            questions = Questions.read(template.root)
            given = answers_from(answers, questions)
            created = create(template, questions, given, Path(temporary) / "render")
        render, record = created.folder, created.folder / ANSWERS
        recorded = read_answers(record)[0] if record.is_file() else {}
        at, address = (str(recorded.get(key, "")) for key in ("_commit", "_src_path"))
        if not (at and address):
            raise Refusal("this template has no version to update from; use its git address")
        _check(git)  # again: rendering takes a while
        head = git.line("rev-parse", "--verify", "--quiet", "HEAD", ok=(0, 1))
        paths = sorted(path for path in render.rglob("*") if path.is_file())
        files = {path.relative_to(render).as_posix(): path for path in paths}
        verdicts = _compare(git, files, head) | {ANSWERS: NEW}
        new = {name: files[name] for name, verdict in verdicts.items() if verdict == NEW}
        _commit(git, new, head, f"{temporary}/index", f"Adopt {plain(address)} {at}")
    collisions = {name: why for name, why in verdicts.items() if why not in (NEW, SAME)}
    lines = [f"warning: {warning}" for warning in created.warnings]
    lines += [f"New files on the branch {BRANCH}: {len(new)}. To merge: git merge {BRANCH}"]
    lines += [f"Identical files: {list(verdicts.values()).count(SAME)}"]
    lines += [f"Skipped, because you have other files there: {len(collisions)}"]
    lines += [f"  {name}: {why}" for name, why in collisions.items()]
    if collisions:
        render_folder, first = f"../{folder.name}.template", next(iter(collisions))
        copier = ["uvx", f"copier@{version('copier')}"]
        if not shutil.which("uvx"):
            copier = [sys.executable, "-m", "copier"]
        copy = [*copier, "copy", "--quiet", "--defaults", "--vcs-ref", at]
        copy += ["--data-file", ANSWERS, address, render_folder]
        compare = ["git", "diff", "--no-index", "--", first, f"{render_folder}/{first}"]
        lines += ["To compare them with the template, after the merge:"]
        lines += [f"  {shlex.join(command)}" for command in (copy, compare)]
        if IGNORE in collisions:
            rules = shlex.quote(f"{render_folder}/{IGNORE}")
            lines += ["Without the rules of the template, data, models and keys can be committed:"]
            lines += [f"  cat {rules} >> {IGNORE}"]
    say(console, *lines)
    return 0


def _check(git: Repository) -> None:
    folder = git.folder
    if not folder.is_dir():
        raise Refusal(f"{folder} is not a folder; for a new project: poc2prod new")
    top = find_top(git, "for a new project: poc2prod new")
    if top != folder:
        raise Refusal(f"{folder} is part of the repository {top}; adopt the whole repository")
    if os.path.lexists(folder / ANSWERS):
        raise Refusal(f"{folder} already has {ANSWERS}; for a newer version: poc2prod update")
    if git("status", "--porcelain", "--untracked-files=no", IN_SUBMODULES):
        raise Refusal(f"{folder} has uncommitted changes; commit or stash them")
    if git("branch", "--list", BRANCH):
        raise Refusal(f"the branch {BRANCH} exists; merge it, or delete it: git branch -D {BRANCH}")


def _compare(git: Repository, files: Mapping[str, Path], head: str) -> dict[str, str]:
    """Return for each rendered file: new, identical, or why it collides."""
    folder, tracked = git.folder, git.files(head) if head else {}
    blobs = dict(zip(files, _blobs(git, files), strict=True))
    # Files of the user in rendered folders, tracked or not, with their own upper and lower case.
    theirs = {prefix for name in tracked for prefix in _prefixes(name)}
    for parent in {Path(name) for name in files for name in ("", *_prefixes(name)[:-1])}:
        if (folder / parent).is_dir():
            theirs |= {(parent / path.name).as_posix() for path in (folder / parent).iterdir()}
    spelled = defaultdict(set)
    for name in theirs:
        spelled[_fold(name)].add(name)

    def verdict(name: str) -> str:
        for prefix in _prefixes(name):
            if others := spelled[_fold(prefix)] - {prefix}:
                return f"{min(others)} has the same name on case-insensitive file systems"
            path = folder / prefix
            is_folder = path.is_dir() and not path.is_symlink() and not (path / ".git").exists()
            if prefix != name and (prefix in tracked or (prefix in theirs and not is_folder)):
                return f"{prefix} is not a folder"
        if name in tracked:
            return SAME if tracked[name].endswith(blobs[name]) else "your file differs"
        if name in theirs:
            return "you have a folder" if (folder / name).is_dir() else "your file is untracked"
        return NEW

    verdicts = {name: verdict(name) for name in files}
    new = "".join(f"{name}\0" for name in verdicts if verdicts[name] == NEW)
    paths = git.with_variables(GIT_LITERAL_PATHSPECS="0")  # check-ignore does not support it
    ignored = paths("check-ignore", "-z", "--stdin", given=new, ok=(0, 1)).split("\0")
    return verdicts | dict.fromkeys(filter(None, ignored), "ignored by git")


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _prefixes(name: str) -> list[str]:
    return list(accumulate(name.split("/"), "{}/{}".format))


def _blobs(git: Repository, files: Mapping[str, Path], *options: str) -> list[str]:
    """Return the blob id of each file, without filters of the user."""
    listing = "".join(f"{path}\n" for path in files.values())
    command = ["hash-object", "--no-filters", "--stdin-paths", *options]
    return git(*command, given=listing).split()


def _commit(git: Repository, files: Mapping[str, Path], head: str, index: str, words: str) -> None:
    """Commit files on top of HEAD to the new branch, with a separate index."""
    separate = git.with_variables(GIT_INDEX_FILE=index)
    if head:
        separate("read-tree", head)
    rows = [
        f"{'100755' if path.stat().st_mode & 0o100 else '100644'} {blob}\t{name}\0"
        for (name, path), blob in zip(files.items(), _blobs(git, files, "-w"), strict=True)
    ]
    separate("update-index", "-z", "--index-info", given="".join(rows))
    tree, parents = separate.line("write-tree"), ["-p", head] if head else []
    commit = git.line("commit-tree", tree, *parents, "-m", words)
    git("update-ref", "-m", words, f"refs/heads/{BRANCH}", commit, "")
