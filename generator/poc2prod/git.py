"""Run git in a given folder, without user configuration that would change the results."""

import os
import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from .git_settings import NO_PROTOCOLS, safe_variables
from .output import plain
from .refusal import Refusal

# Variables that make git use another repository. Hooks and aliases of git set them.
POINTERS = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)
# English, because the output is parsed; no refresh of the index; no prompts.
QUIET = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
QUIET |= {"GIT_LITERAL_PATHSPECS": "1"}
QUIET |= NO_PROTOCOLS
# Reasons in the lock of a worktree while `git worktree add --lock` creates it.
UNFINISHED = ("initializing", "added with --lock")
LOG = ("log", "--no-show-signature")
US = "poc2prod@localhost"
IDENTITY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "poc2prod"), ("EMAIL", US))
}

Files = dict[str, str]
"""The files of a tree: mode and blob id by name, as in `git ls-tree`."""


@contextmanager
def without_pointers() -> Iterator[None]:
    """Hide variables that would make git use the caller's repository."""
    hidden = {name: os.environ.pop(name) for name in POINTERS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


@dataclass(frozen=True)
class Repository:
    """A repository; call it with the arguments of a git command."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=lambda: {**os.environ, **QUIET})
    options: tuple[str, ...] = ()
    is_trusted: bool = False
    """Whether programs that its configuration names may run, such as hooks and filters."""

    @classmethod
    def scratch(cls, folder: Path, other: "Repository", keep: bool) -> "Repository":
        """Create a repository with the objects of another one, and without configuration.

        With `keep`, new objects are written to the other one.
        """
        objects = str((other.folder / other.line("rev-parse", "--git-path", "objects")).resolve())
        inherited = {name: os.environ[name] for name in os.environ if not name.startswith("GIT_")}
        own = {"HOME": os.devnull, "XDG_CONFIG_HOME": os.devnull}
        own |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
        if (names := other.line("rev-parse", "--show-object-format")) != "sha1":
            own["GIT_DEFAULT_HASH"] = names
        # Keep core.sharedRepository: with `keep`, other users must be able to read new objects.
        shared = other.line("config", "--default=umask", "core.sharedRepository")
        options = ("-c", f"core.sharedRepository={shared}")
        scratch = cls(folder, {**inherited, **QUIET, **IDENTITY, **own}, options, is_trusted=True)
        folder.mkdir()
        scratch("init", "--quiet", "--template=")
        # In addition to the variable, which processes started elsewhere do not have.
        info = folder / ".git" / "objects" / "info"
        info.mkdir(exist_ok=True)
        (info / "alternates").write_bytes(os.fsencode(f"{objects}\n"))
        return scratch.with_variables(GIT_OBJECT_DIRECTORY=objects) if keep else scratch

    def __call__(self, *arguments: str, given: str = "", ok: tuple[int, ...] = (0,)) -> str:
        """Return the output of a git command. Raises Refusal with the error of git."""
        safe = {} if self.is_trusted else safe_variables(self.folder, self.environment)
        process = subprocess.run(
            ["git", *self.options, *arguments],
            cwd=self.folder,
            env={**self.environment, **safe},
            input=os.fsencode(given),
            capture_output=True,
            check=False,
        )
        if process.returncode not in ok:
            errors = os.fsdecode(process.stderr).strip().splitlines()
            errors = errors or [f"git {arguments[0]} fails"]
            reasons = [line for line in errors if line.startswith(("fatal:", "error:"))]
            text = plain((reasons or errors)[0])
            if owned := re.search("dubious ownership in repository at '(.+)'", text):
                trust = shlex.join(
                    ["git", "config", "--global", "--add", "safe.directory", owned[1]]
                )
                text = f"{owned[1]} belongs to another user; to let git use it: {trust}"
            raise Refusal(text)
        return os.fsdecode(process.stdout)

    def line(self, *arguments: str, given: str = "", ok: tuple[int, ...] = (0,)) -> str:
        """Return the single line that a git command prints, or ""."""
        return self(*arguments, given=given, ok=ok).removesuffix("\n")

    def rows(self, *arguments: str, given: str = "") -> list[str]:
        """Return the NUL-separated rows that a git command prints with -z."""
        return self(*arguments, given=given).split("\0")[:-1]

    def with_variables(self, **variables: str) -> "Repository":
        return replace(self, environment={**self.environment, **variables})

    def find_commit(self, version: str) -> str:
        """Return the commit id of a tag, a branch or a commit; "" if there is none."""
        for name in (version, f"origin/{version}"):
            # Through standard input, because a version may look like an option.
            asked = f"{name.partition(chr(10))[0]}^{{commit}}\n"
            found = self.line("cat-file", "--batch-check=%(objectname)", given=asked)
            if found.isalnum():
                return found
        return ""

    def files(self, tree: str) -> Files:
        rows = self.rows("ls-tree", "-r", "-z", "--full-tree", tree)
        parts = ((about.split(), name) for about, _, name in (row.partition("\t") for row in rows))
        return {name: f"{mode} {blob}" for (mode, _, blob), name in parts}

    def store_folder(self, folder: Path) -> Files:
        """Store the files of a folder, applying its .gitattributes."""
        inside = replace(self._index(GIT_WORK_TREE=str(folder)), folder=folder)
        inside("add", "--all", "--force", ".")
        rows = (row.partition("\t") for row in inside.rows("ls-files", "--stage", "-z"))
        return {name: about.rpartition(" ")[0] for about, _, name in rows}

    def store_tree(self, files: Files) -> str:
        inside = self._index()
        rows = "".join(f"{about}\t{name}\0" for name, about in files.items())
        inside("update-index", "-z", "--index-info", given=rows)
        return inside.line("write-tree")

    def read_blobs(self, blobs: Collection[str]) -> dict[str, bytes]:
        """Read the content of blobs, by their ids."""
        given = "".join(f"{blob}\n" for blob in blobs)
        output = os.fsencode(self("cat-file", "--batch", "--buffer", given=given))
        found, place = {}, 0
        for blob in blobs:
            start = output.index(b"\n", place) + 1
            end = start + int(output[place:start].split()[-1])
            found[blob], place = output[start:end], end + 1
        return found

    def store_blobs(self, contents: Collection[bytes]) -> list[str]:
        """Store contents as blobs; return their ids."""
        if not contents:
            return []
        with TemporaryDirectory(dir=self.folder / ".git") as folder:
            paths = [Path(folder, str(number)) for number in range(len(contents))]
            for path, content in zip(paths, contents, strict=True):
                path.write_bytes(content)
            given = "".join(f"{path}\n" for path in paths)
            return self("hash-object", "-w", "--no-filters", "--stdin-paths", given=given).split()

    def _index(self, **variables: str) -> "Repository":
        """Return this repository with a separate, empty index."""
        index = self.folder / ".git" / "index-of-tree"
        index.unlink(missing_ok=True)
        own = {"GIT_DIR": str(self.folder / ".git"), "GIT_INDEX_FILE": str(index)}
        return self.with_variables(**own, **variables)

    def commit(self, tree: str, *parents: str, words: str) -> str:
        """Store a commit without a branch."""
        of = (part for parent in parents for part in ("-p", parent))
        return self.line("commit-tree", tree, *of, "-m", words)

    def merge(self, ours: str, theirs: str, name: str) -> set[str]:
        """Merge `theirs`, called `name`, into `ours`, with their common parent as the base.

        Conflicts stay unmerged, except for files that `ours` has deleted: these stay deleted and
        are returned. Raises Refusal if git fails for another reason than a conflict.
        """
        self("reset", "--quiet", "--hard", ours)
        self("update-ref", f"refs/heads/{name}", theirs)
        renaming = ("-c", "merge.renames=true", "-c", "merge.directoryRenames=true")
        self(*renaming, "merge", "--no-commit", "--no-ff", name, ok=(0, 1))
        self("rev-parse", "--verify", "MERGE_HEAD")
        dropped = {name for name, sides in self.unmerged().items() if sides == "13"}
        if dropped:
            self("rm", "--quiet", "--force", "--", *dropped)
        return dropped

    def unmerged(self) -> dict[str, str]:
        """Return the sides that have each conflicting file: 1 base, 2 ours, 3 theirs."""
        sides: dict[str, str] = defaultdict(str)
        for about, _, name in (row.partition("\t") for row in self.rows("ls-files", "-u", "-z")):
            sides[name] += about[-1]
        return dict(sides)

    def find_renames(self, before: str, after: str, prefix: str) -> dict[str, str]:
        """Return old names by new names, for files that moved between two trees."""
        moved = ("diff-tree", "-r", "-z", "-M", "--diff-filter=R", "--name-status")
        inside = [f"--relative={prefix}"] * bool(prefix)
        rows = iter(self.rows(*moved, *inside, before, after))
        return {new: old for _, old, new in zip(rows, rows, rows, strict=True)}

    def clear(self, branch: str, place: Path) -> str:
        """Remove leftovers of a killed run; return the commit of the branch, or "".

        Raises Refusal if the branch, or a worktree of it, may contain work of the user.
        """
        reference = f"refs/heads/{branch}"
        for entry in self("worktree", "list", "--porcelain").split("\n\n"):
            about = dict(line.partition(" ")[::2] for line in entry.splitlines())
            worktree = Path(about.get("worktree", os.devnull))
            is_ours, is_locked = about.get("branch") == reference, "locked" in about
            is_gone = is_ours and not is_locked and not worktree.exists()
            if is_gone or (worktree == place and about.get("locked") in UNFINISHED):
                self.remove_worktree(worktree)
            elif is_ours and worktree != place:
                raise Refusal(
                    f"{branch} is checked out in {worktree}; switch to another branch there"
                )
            elif is_ours:
                away = f"git worktree remove --force {shlex.quote(str(place))}"
                raise Refusal(
                    f"{place} has the unresolved conflicts of an update; resolve them, "
                    f"or discard the update: {away} && git branch -D {branch}"
                )
        was = self.line("rev-parse", "--verify", "--quiet", reference, ok=(0, 1))
        committers = self(*LOG, "--format=%ce", was, "--not", "HEAD").split() if was else []
        if set(committers) - {US}:
            hint = f"git merge {branch}, or delete it: git branch -D {branch}"
            raise Refusal(f"the branch {branch} has your own unmerged commits; {hint}")
        return was

    def leave_conflicts(
        self, merge: "Repository", head: str, branch: str, place: Path, was: str
    ) -> None:
        """Check out a merge with conflicts in a worktree, on a new branch at `head`."""
        if os.path.lexists(place):
            raise Refusal(f"{place} exists, but is needed for the conflicts; move it away")
        there = replace(self, folder=place)
        try:
            # If this run is killed, the next one recognises the worktree by its lock.
            self("worktree", "add", "--lock", "--no-checkout", "--detach", str(place), head)
            there("update-index", "-z", "--index-info", given=merge("ls-files", "--stage", "-z"))
            there("checkout-index", "--all", "--force", "--index")
            for name in merge.unmerged():
                if os.path.lexists(merge.folder / name):
                    (place / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(merge.folder / name, place / name, follow_symlinks=False)
            self("update-ref", "-m", "Update the template", f"refs/heads/{branch}", head, was)
            there("symbolic-ref", "HEAD", f"refs/heads/{branch}")
            self("worktree", "unlock", str(place))
        except BaseException:
            self.remove_worktree(place)
            raise

    def remove_worktree(self, worktree: Path) -> None:
        """Remove a worktree in any state, but no other folder."""
        remove = ("worktree", "remove", "--force", "--force", str(worktree))
        try:
            self(*remove)
        except Refusal:  # interrupted so early that git does not recognise it; it is empty
            with suppress(OSError):
                (worktree / ".git").unlink(missing_ok=True)
                worktree.rmdir()
            self(*remove, ok=(0, 128))


def find_overwritten(top: Path, names: set[str], tracked: set[str]) -> list[str]:
    """List untracked files that writing files with these names would overwrite."""
    found: set[str] = set()
    for name in names:
        for part in (name, *map(str, list(PurePosixPath(name).parents)[:-1])):
            path = top / part
            if path.is_dir() and not path.is_symlink():
                inside = path.rglob("*") if part == name else ()
                files = (file for file in inside if file.is_symlink() or not file.is_dir())
                found.update(str(file.relative_to(top)) for file in files)
            elif os.path.lexists(path):
                found.add(part)
    return sorted(found - tracked)
