"""Adopts an existing repository: what a render has and it lacks becomes one new branch."""

import os
import shlex
import shutil
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from .answers import ANSWERS, read_answers
from .git import Repository, without_pointers
from .output import plain, say
from .project import answers_from, create
from .questions import Questions
from .refusal import Refusal
from .template import default_source, open_template

BRANCH = "poc2prod/adopt"
NEW, SAME = "new", "the same"


def adopt(folder: Path, answers: Path | None, source: str | None, console: Console) -> int:
    """Commit what a render has and the repository lacks to a new branch; list what collides.

    Raises Refusal before anything is done. The branch appears last and at once; the files, the
    index and the branch of the user never change.
    """
    if not shutil.which("git"):
        raise Refusal("git is needed to adopt a repository: apt install git")
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
            raise Refusal("this template records no version to update from; name its git address")
        _check(git)  # again: reading and rendering the template takes a while
        head = git.line("rev-parse", "--verify", "--quiet", "HEAD", ok=(0, 1))
        paths = sorted(path for path in render.rglob("*") if path.is_file())
        files = {path.relative_to(render).as_posix(): path for path in paths}
        verdicts = _compare(git, files, head) | {ANSWERS: NEW}
        new = {name: files[name] for name, verdict in verdicts.items() if verdict == NEW}
        _commit(git, new, head, f"{temporary}/index", f"Adopt {plain(address)} {at}")
    collisions = {name: why for name, why in verdicts.items() if why not in (NEW, SAME)}
    lines = [f"warning: {warning}" for warning in created.warnings]
    lines += [f"New files on the branch {BRANCH}: {len(new)}; take them: git merge {BRANCH}"]
    lines += [f"There already, byte for byte: {list(verdicts.values()).count(SAME)}"]
    lines += [f"Left out, because they collide with what is there: {len(collisions)}"]
    lines += [f"  {name}: {why}" for name, why in collisions.items()]
    if collisions:
        beside, first = f"../{folder.name}.template", next(iter(collisions))
        copy = ["uvx", f"copier@{version('copier')}", "copy", "--quiet", "--defaults", "--vcs-ref"]
        copy += [at, "--data-file", ANSWERS, address, beside]
        compare = ["git", "diff", "--no-index", "--", first, f"{beside}/{first}"]
        lines += ["To see what the template has there, after the merge:"]
        lines += [f"  {shlex.join(command)}" for command in (copy, compare)]
    say(console, *lines)
    return 0


def _check(git: Repository) -> None:
    folder = git.folder
    try:
        top = git.line("rev-parse", "--show-toplevel")
    except (Refusal, OSError):
        raise Refusal(f"{folder} is no git repository; for a new project: poc2prod new") from None
    if os.path.realpath(top) != str(folder):
        raise Refusal(f"{folder} is only a part of the repository {top}; adopt that one")
    if os.path.lexists(folder / ANSWERS):
        raise Refusal(f"{folder} has {ANSWERS} already; for a newer version: poc2prod update")
    if git("status", "--porcelain", "--untracked-files=no"):
        raise Refusal(f"{folder} has changes that are not committed; commit them, or git stash")
    if git("branch", "--list", BRANCH):
        raise Refusal(f"the branch {BRANCH} exists; merge it, or: git branch -D {BRANCH}")


def _compare(git: Repository, files: Mapping[str, Path], head: str) -> dict[str, str]:
    """Return for each rendered file whether it is new, the same, or why it collides."""
    folder, tracked = git.folder, git.files(head) if head else {}
    blobs = dict(zip(files, _blobs(git, files), strict=True))
    # What is in the folders of the render, tracked or not, in the spelling that it has there.
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
                return f"{min(others)} is the same name where case does not count"
            path = folder / prefix
            is_folder = path.is_dir() and not path.is_symlink() and not (path / ".git").exists()
            if prefix != name and (prefix in tracked or (prefix in theirs and not is_folder)):
                return f"{prefix} is no folder here"
        if name in tracked:
            return SAME if tracked[name].endswith(blobs[name]) else "yours is another"
        if name in theirs:
            return "yours is a folder" if (folder / name).is_dir() else "yours, untracked"
        return NEW

    verdicts = {name: verdict(name) for name in files}
    new = "".join(f"{name}\0" for name in verdicts if verdicts[name] == NEW)
    paths = git.with_variables(
        GIT_LITERAL_PATHSPECS="0"
    )  # the one command that refuses to be literal
    ignored = paths("check-ignore", "-z", "--stdin", given=new, ok=(0, 1)).split("\0")
    return verdicts | dict.fromkeys(filter(None, ignored), "ignored by git here")


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _prefixes(name: str) -> list[str]:
    return list(accumulate(name.split("/"), "{}/{}".format))


def _blobs(git: Repository, files: Mapping[str, Path], *options: str) -> list[str]:
    """Return git's id of the bytes of each file, without the user's filters."""
    listing = "".join(f"{path}\n" for path in files.values())
    command = ["hash-object", "--no-filters", "--stdin-paths", *options]
    return git(*command, given=listing).split()


def _commit(git: Repository, files: Mapping[str, Path], head: str, index: str, words: str) -> None:
    """Commit files on top of HEAD to the new branch, with an index beside the user's."""
    aside = git.with_variables(GIT_INDEX_FILE=index)
    if head:
        aside("read-tree", head)
    rows = [
        f"{'100755' if path.stat().st_mode & 0o100 else '100644'} {blob}\t{name}\0"
        for (name, path), blob in zip(files.items(), _blobs(git, files, "-w"), strict=True)
    ]
    aside("update-index", "-z", "--index-info", given="".join(rows))
    tree, parents = aside.line("write-tree"), ["-p", head] if head else []
    commit = git.line("commit-tree", tree, *parents, "-m", words)
    git("update-ref", "-m", words, f"refs/heads/{BRANCH}", commit, "")
