"""Update a project to another version of its template with a three-way merge.

The recorded version and the new one are rendered and stored as git trees. The difference between
them is merged with the user's files in a scratch repository, which shares the objects of the user's
repository but not its configuration. The user's repository only receives a branch at the end and,
if there are conflicts, a worktree.
"""

import os
import re
import shlex
import shutil
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

from rich.console import Console
from rich.prompt import Confirm

from .addresses import credentials_apart
from .answers import ANSWERS, read_answers
from .checkout import Checkout, find_other_source, read_checkout
from .git import IDENTITY, Repository, without_pointers
from .make import child_environment, start_make
from .merge import merge_renders
from .moves import read_generated, read_moves
from .next_steps import print_next_steps
from .output import say
from .questions import Questions
from .reanswer import NewAnswers, answer_again, print_answers, public_answers
from .refusal import Refusal
from .render import render
from .template import Template, check_out
from .versions import Versions, find_versions, print_news

TARGET = r"^(?![\t#.])[^:=#]*\b{}\b[^:=]*:(?!=)"
LOG_LINES = 20


@dataclass(frozen=True)
class Renders:
    """Renders of the recorded and of the new version, and the answers the new one records."""

    old: Path
    new: Path
    recorded: dict[Any, Any]


def update(
    folder: Path,
    console: Console,
    *,
    to: str | None,
    answers: list[str],
    template: str | None,
    dry_run: bool,
    test: bool | None,
    merge: bool | None,
) -> int:
    """Update a project to the newest or a given version of its template, or to other answers.

    The project's tests run code of the new version: if `test` is None, they run if the user agrees.

    Returns 0 if the update is complete or changes nothing. Returns 1 if it stopped because the new
    version would reset answers, files are in conflict or the project's checks fail. Raises Refusal
    if it cannot start, or if git refuses the final merge.
    """
    if not shutil.which("git"):
        raise Refusal("git is needed to update a project: apt install git")
    if template and Path(template).expanduser().exists():
        template = str(Path(template).expanduser().resolve())  # the project records it
    with (
        without_pointers(),
        TemporaryDirectory(prefix="poc2prod-", ignore_cleanup_errors=True) as temporary,
        ExitStack() as entered,
    ):
        work, project = Path(temporary), read_checkout(folder)
        before = str(project.recorded["_commit"])
        address = template or str(project.recorded["_src_path"])
        source = entered.enter_context(credentials_apart(address))
        # No spinner over a question of git or ssh, for a password or a host key.
        is_here = Path(source).expanduser().exists() or (project.folder / source).exists()
        with console.status("Reading the template") if is_here else nullcontext():
            can_stay = bool(answers or template)
            versions = find_versions(project, source, to, can_stay, work / "template")
        if not versions.new:
            say(console, f"Up to date: {source} has nothing newer than {before}.")
            return 0
        questions = Questions.read(versions.template.folder)
        moves = read_moves(versions.template.folder)
        generated = read_generated(versions.template.folder)
        answering = answer_again(questions, project.recorded, answers)
        branch, top = f"template/{versions.name}", project.git.folder
        place = top.with_name(f"{top.name}-{branch.replace('/', '-')}")
        previous = "" if dry_run else project.git.clear(branch, place)
        step = before if before == versions.name else f"{before} -> {versions.name}"
        say(console, f"{project.folder.name}: {step}, from {source}")
        if earlier := find_other_source(project, source):
            say(console, f"warning: the template comes from another place than before: {earlier}")
        print_news(console, versions, before)
        with console.status("Rendering both versions"):
            renders = _render_both(project, versions, answering, work)
        reset = print_answers(console, questions, project.recorded, renders.recorded, answering)
        if reset:
            again = _command(folder, to, template, [*answers, *reset])
            say(console, f"Stopped. To accept these answers, or to give others: {again}")
            return 1
        with console.status("Merging"):
            owned = _find_owned(questions, answering, project.recorded, renders.recorded)
            scratch = _make_scratch(project, work / "scratch", keep=not dry_run)
            notes = merge_renders(
                project, scratch, renders.old, renders.new, owned, branch, moves, generated
            )
        say(console, *notes)
        if scratch.unmerged():
            if not dry_run:
                project.git.leave_conflicts(scratch, project.head, branch, place, previous)
                print_next_steps(console, project, branch, place)
            return 1
        tree = scratch.line("write-tree")
        changed = scratch.line("diff", "--shortstat", project.head, tree).strip()
        say(console, changed or "Nothing changes in the project.")
        if dry_run or not changed:
            return 0
        words = f"Update the template from {before} to {versions.name}"
        if before == versions.name:
            words = f"Render the template {before} with other answers"
        commit = scratch.commit(tree, project.head, words=words)
        project.git("update-ref", "-m", words, f"refs/heads/{branch}", commit, previous)
        say(console, f"The update is one commit on branch {branch}.")
        if test is None:
            test = _may_run(console, scratch, commit, project, f"{source} at {versions.name}")
        if test and not _passes_tests(console, scratch, commit, project):
            say(console, f"Nothing was merged. To fix it: git switch {branch}")
            return 1
        _offer_merge(console, top, branch, merge)
        return 0


def _render_both(
    project: Checkout, versions: Versions, answering: NewAnswers, work: Path
) -> Renders:
    """Render both versions under the project's folder name. Raises Refusal."""
    old, new = (work / which / project.folder.name for which in ("old", "new"))
    root = versions.template.folder
    # Render both at the same path, because a file may contain the path of its render.
    recorded = Template(versions.source, root, versions.old)
    try:
        render(recorded, public_answers(project.recorded), new, project.folder)
    except Refusal:
        if problems := _list_problems(project, versions):
            raise Refusal(*problems) from None
        raise
    new.parent.rename(old.parent)
    new.mkdir(parents=True)
    shutil.copyfile(project.folder / ANSWERS, new / ANSWERS)
    render(Template(versions.source, root, versions.new), answering.given, new, project.folder)
    return Renders(old, new, read_answers(new / ANSWERS)[0])


def _list_problems(project: Checkout, versions: Versions) -> list[str]:
    """Return what is wrong with the recorded answers, by the rules of their own version."""
    check_out(versions.template, versions.old)
    questions = Questions.read(versions.template.folder)
    answers = public_answers(project.recorded)
    known = {
        name: answers[name]
        for name in filter(questions.is_open, questions.specs)
        if name in answers
    }
    return [f"{project.folder / ANSWERS}: {problem}" for problem in questions.settle(known)[1]]


def _command(folder: Path, to: str | None, template: str | None, answers: list[str]) -> str:
    """Return the command line that repeats an update with more answers."""
    words = ["poc2prod", "update", *[str(folder)] * (folder != Path())]
    words += ["--to", to] if to else []
    words += ["--template", template] if template else []
    words += [part for text in answers for part in ("--answer", text)]
    return shlex.join(words)


def _make_scratch(project: Checkout, parent: Path, *, keep: bool) -> Repository:
    """Create a repository for the merge; with `keep`, its objects go to the user's repository."""
    parent.mkdir()
    # Named like the user's folder, because the project's tests may read the name.
    return Repository.scratch(parent / project.git.folder.name, project.git, keep)


def _find_owned(questions: Questions, answering: NewAnswers, *answers: dict[Any, Any]) -> list[str]:
    """Return the patterns of files that the user owns, for the old and for the new answers."""
    patterns = questions.settings.get("_skip_if_exists", [])
    return [
        questions.text(pattern, {**answering.context, **known})
        for known in answers
        for pattern in patterns
    ]


def _may_run(
    console: Console, scratch: Repository, commit: str, project: Checkout, code: str
) -> bool:
    """Ask whether the tests may run, on a terminal; they are code of the template."""
    if not _find_targets(scratch, commit, project.prefix):
        return False
    if not console.is_terminal:
        say(console, "Not tested: `make test` runs code of the template. To allow it: --test")
        return False
    say(console, *scratch("diff", "--stat", project.head, commit).splitlines())
    say(console, f"The tests run the code of {code}, without the secrets of your environment.")
    say(console, f"To read it first: git diff HEAD {commit[:12]}")
    with suppress(EOFError):
        return Confirm.ask("Run `make test` on the update?", default=True, console=console)
    return False


def _passes_tests(console: Console, scratch: Repository, commit: str, project: Checkout) -> bool:
    """Run the project's `make setup test` on a commit, where they exist; print the result."""
    if (failure := _run_tests(console, scratch, commit, project.prefix)) is None:
        return True
    output, reason = failure
    if not reason:
        say(console, "make test passed on the update.")
        return True
    say(console, *output[-LOG_LINES:], reason)
    before = _run_tests(console, scratch, project.head, project.prefix)
    if before and before[1]:
        say(
            console,
            "The same happens without the update. The tests ran in a copy of the repository, which "
            "has no submodules, no files of Git LFS and no ignored files. If that is the reason, "
            "use --no-test.",
        )
    return False


def _run_tests(
    console: Console, scratch: Repository, commit: str, prefix: str
) -> tuple[list[str], str] | None:
    """Run `make setup test` on a commit; return the output and what failed, or an empty string.

    None if the project has no tests.
    """
    if not (targets := _find_targets(scratch, commit, prefix)):
        return None
    scratch("reset", "--quiet", "--hard", commit)
    folder = scratch.folder / prefix
    with TemporaryFile() as log, TemporaryDirectory(prefix="poc2prod-") as home:
        own = {"HOME": home, "TMPDIR": home, "GIT_CONFIG_GLOBAL": os.devnull}
        environment = child_environment() | own | IDENTITY
        for target in targets:
            with (
                console.status(f"make {target}"),
                start_make(target, folder, environment, log) as process,
            ):
                status = process.wait()
            if status:
                log.seek(0)
                output = log.read().decode(errors="replace").splitlines()
                return output, f"make {target} failed on the update (exit status {status})."
    return [], ""


def _find_targets(scratch: Repository, commit: str, prefix: str) -> list[str]:
    """Return the targets that test a commit: setup, if there is one, and test."""
    if not shutil.which("make"):
        return []
    rules = scratch("show", f"{commit}:{prefix}Makefile", ok=(0, 128))
    if not re.search(TARGET.format("test"), rules, re.MULTILINE):
        return []
    # Run setup again: another version of the template may need other packages.
    return ["setup"] * bool(re.search(TARGET.format("setup"), rules, re.MULTILINE)) + ["test"]


def _offer_merge(console: Console, top: Path, branch: str, merge: bool | None) -> None:
    """Merge a branch if the user agrees, else print the command. Raises Refusal if git fails."""
    if merge is None and console.is_terminal:
        with suppress(EOFError):
            merge = Confirm.ask(f"Merge {branch} now?", default=True, console=console)
    if not merge:
        return say(console, f"To merge it: git merge {branch}")
    try:
        # With the user's hooks and configuration. Files created meanwhile are not overwritten.
        git = Repository(top, dict(os.environ), is_trusted=True)
        git("merge", "--quiet", "--ff-only", "--no-overwrite-ignore", branch)
    except Refusal as error:
        raise Refusal(f"{branch} was not merged; {error}") from None
    say(console, f"Merged {branch}.")
