"""Take a newer version of the template, by a three-way merge that happens beside the project.

The recorded version and the newer one are rendered and stored as trees. What changed between them
is merged with what the user has, in a scratch repository that shares the user's objects and none of
their configuration. The user's repository gets a branch at the end, and for conflicts a worktree.
"""

import os
import re
import shlex
import shutil
import warnings
from contextlib import chdir, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

from rich.console import Console
from rich.prompt import Confirm

from .answers import ANSWERS, read_answers
from .git import LOG, Repository, unpointed
from .making import inherited, started
from .merge import Checkout, merge_renders, opened
from .moves import read_moves
from .questions import Questions, did_you_mean, shown
from .refusal import Refusal
from .template import cloned, numbers, releases_of
from .terminal import plain, say

TARGET = r"^(?![\t#.])[^:=#]*\b{}\b[^:=]*:(?!=)"
LOG_LINES = 20


@dataclass(frozen=True)
class Versions:
    """A clone of the template, at the newer of two versions; no new one if there is none."""

    template: Repository
    old: str
    new: str
    name: str


@dataclass(frozen=True)
class Answers:
    """What was answered now, what that makes of all questions, and the rules old answers break."""

    given: dict[str, Any]
    context: dict[str, Any]
    rules: dict[str, str]


def update(
    folder: Path,
    console: Console,
    *,
    to: str | None,
    answers: list[str],
    template: str | None,
    dry_run: bool,
    test: bool,
    merge: bool | None,
) -> int:
    """Bring a project to the newest version of its template, or to another one, or other answers.

    Returns 0 when it is done or there is nothing to do, and 1 when it stopped: at answers that the
    new version would reset, at conflicts, at checks that fail. Raises Refusal before that.
    """
    if not shutil.which("git"):
        raise Refusal("git is needed to update a project: apt install git")
    if template and Path(template).expanduser().exists():
        template = str(Path(template).expanduser().resolve())  # it will be recorded
    with (
        unpointed(),
        TemporaryDirectory(prefix="poc2prod-", ignore_cleanup_errors=True) as temporary,
    ):
        work, project = Path(temporary), opened(folder)
        before, source = (str(project.recorded[key]) for key in ("_commit", "_src_path"))
        source = template or source
        with console.status("Reading the template"):
            versions = _read(source, project, to, bool(answers or template), work / "template")
        if not versions.new:
            say(console, f"Up to date: {source} has nothing newer than {before}.")
            return 0
        questions = Questions.read(versions.template.folder)
        moves = read_moves(versions.template.folder)
        answering = _answered(questions, project.recorded, answers)
        branch, top = f"template/{versions.name}", project.git.folder
        place = top.with_name(f"{top.name}-{branch.replace('/', '-')}")
        was = "" if dry_run else project.git.clear(branch, place)
        say(console, f"{project.folder.name}: {before} -> {versions.name}, from {source}")
        _tell_news(console, versions, before)
        with console.status("Rendering both versions"):
            old, new = (work / which / project.folder.name for which in ("old", "new"))
            # In the same place, in case that a file tells where it was rendered.
            _render(source, versions.old, _public(project.recorded), new, project.folder)
            new.parent.rename(old.parent)
            new.mkdir(parents=True)
            shutil.copyfile(project.folder / ANSWERS, new / ANSWERS)
            _render(source, versions.new, answering.given, new, project.folder)
        answered = read_answers(new / ANSWERS)[0]
        if reset := _tell_answers(console, questions, project.recorded, answered, answering):
            again = ["poc2prod", "update", *[str(folder)] * (folder != Path())]
            again += ["--to", to] if to else []
            again += ["--template", template] if template else []
            again += [part for text in [*answers, *reset] for part in ("--answer", text)]
            say(console, f"Stopped. To go on with these, or others: {shlex.join(again)}")
            return 1
        with console.status("Merging"):
            patterns = questions.settings.get("_skip_if_exists", [])
            both = ({**answering.context, **known} for known in (project.recorded, answered))
            owned = [questions.text(pattern, known) for known in both for pattern in patterns]
            (work / "scratch").mkdir()
            scratch = Repository.scratch(work / "scratch" / top.name, project.git, not dry_run)
            say(console, *merge_renders(project, scratch, old, new, owned, branch, moves))
        if scratch.unmerged():
            if not dry_run:
                project.git.leave(scratch, project.head, branch, place, was)
                _tell_ways_on(console, project, branch, place)
            return 1
        tree = scratch.line("write-tree")
        changed = scratch.line("diff", "--shortstat", project.head, tree).strip()
        say(console, changed or "Nothing changes in the project.")
        if dry_run or not changed:
            return 0
        words = f"Update the template from {before} to {versions.name}"
        commit = scratch.commit(tree, project.head, words=words)
        project.git("update-ref", "-m", words, f"refs/heads/{branch}", commit, was)
        say(console, f"All of it is one commit on the branch {branch}.")
        if test and not _passes(console, scratch, commit, project.prefix):
            say(console, f"Nothing is merged. To mend it: git switch {branch}")
            return 1
        _take(console, top, branch, merge)
        return 0


def _read(source: str, project: Checkout, to: str | None, again: bool, place: Path) -> Versions:
    """Clone the template and find both versions; no new one if there is nothing to go to.

    `again` is whether the version it has is worth another render. Raises Refusal.
    """
    try:
        template = cloned(source, project.folder, place, may_ask=True)
    except Refusal as error:
        raise Refusal(f"{error}; name a source that can: --template SOURCE") from None
    source, at = plain(source), str(project.recorded["_commit"])
    if not (old := template.commit_of(at)):
        raise Refusal(
            f"{source} has no {at}, which {ANSWERS} records as the version of the project; "
            "name a source that has it: --template SOURCE"
        )
    releases = releases_of(template)
    wanted = to or (releases[-1] if releases else "HEAD")
    new = old if to == "current" else template.commit_of(wanted)
    if not new:
        hint = did_you_mean(wanted, releases) or f"; it has {', '.join(releases[-5:]) or 'no tag'}"
        raise Refusal(f"{source} has no {wanted}{hint}")
    # What was rendered may be newer than the last release.
    if not to and template.line("merge-base", new, old, ok=(0, 1)) == new:
        new = old if again else ""
    if new:
        template("checkout", "--quiet", "--detach", new)
        if not (place / "copier.yml").is_file():
            raise Refusal(f"{source} is no template at {wanted}: it has no copier.yml")
    name = template.line("describe", "--tags", "--always", new) if new else ""
    return Versions(template, old, new, name)


def _answered(questions: Questions, recorded: dict[str, Any], typed: list[str]) -> Answers:
    """Read what was answered now. Raises Refusal with all that is wrong with it."""
    given: dict[str, Any] = {}
    problems: list[str] = []
    for text in typed:
        name, equals, value = text.partition("=")
        if not equals:
            problems.append(f"{text}: write KEY=VALUE, like target=hybrid")
        elif name in given:
            problems.append(f"{name}: answered more than once; keep one")
        elif name not in questions.specs:
            problems += questions.settle({name: value}, until=next(iter(questions.specs), None))[1]
        else:
            given[name] = questions.parsed(name, value)
    # All at once, because a project that knows its package is not judged as a new one.
    context, rules = {**recorded, **given}, {}
    for name, spec in questions.specs.items():
        rule = questions.problem(name, context[name], context) if name in context else ""
        if rule and name in given:
            problems.append(f"{name}: got {shown(given[name])}; {rule}")
        elif rule and questions.is_open(name):
            rules[name] = rule
        # As in Copier, what is wrong gives way to the default, and what is derived is so again.
        wrong = rule and (name in given or name in rules)
        if name not in context or wrong or spec.get("when") is False:
            context[name] = questions.default(name, context)
    if problems:
        raise Refusal(*problems)
    return Answers(given, context, rules)


def _public(recorded: dict[Any, Any]) -> dict[str, Any]:
    return {str(k): value for k, value in recorded.items() if not str(k).startswith("_")}


def _render(source: str, version: str, given: dict[str, Any], folder: Path, project: Path) -> None:
    # Imported here, because it takes most of a second that a refusal need not wait for.
    import copier

    # From within the project, because a relative source is recorded as it was typed.
    with chdir(project), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            copier.run_copy(
                source,
                folder,
                given,
                answers_file=ANSWERS,
                vcs_ref=version,
                defaults=True,
                overwrite=True,
                quiet=True,
                skip_tasks=True,
            )
        except Exception as error:  # templates and git fail in more ways than can be listed
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1].lstrip(" |")
            failed = f"{source} at {version[:9]} cannot be rendered; {reason}"
            raise Refusal(plain(failed)) from error


def _tell_ways_on(console: Console, project: Checkout, branch: str, place: Path) -> None:
    words = shlex.quote(f"Update the template to {branch.partition('/')[2]}")
    worktree, back = shlex.quote(str(place)), shlex.quote(str(project.folder))
    say(
        console,
        f"Nothing of yours has changed. Both sides are in {place}, on the branch {branch}.",
        "To finish, edit the files there until they are right, then:",
        f"  cd {shlex.quote(str(place / project.prefix))}",
        f"  git add --all && git commit -m {words}",
        f"  cd {back} && git merge {branch} && git worktree remove {worktree}",
        "To throw it away:",
        f"  git worktree remove --force {worktree} && git branch -D {branch}",
    )


def _passes(console: Console, scratch: Repository, commit: str, prefix: str) -> bool:
    """Run the project's own `make setup test`, if it has them, on a commit; tell the verdict."""
    scratch("reset", "--quiet", "--hard", commit)
    makefile = scratch.folder / prefix / "Makefile"
    rules = makefile.read_text("utf-8", "replace") if makefile.is_file() else ""
    if not (re.search(TARGET.format("test"), rules, re.MULTILINE) and shutil.which("make")):
        return True
    # In a new environment, because another template may need other packages.
    targets = ["setup"] * bool(re.search(TARGET.format("setup"), rules, re.MULTILINE)) + ["test"]
    with TemporaryFile() as log:
        for target in targets:
            with (
                console.status(f"make {target}"),
                started(target, makefile.parent, inherited(), log) as process,
            ):
                status = process.wait()
            if status:
                log.seek(0)
                said = log.read().decode(errors="replace").splitlines()
                say(console, *said[-LOG_LINES:])
                say(console, f"make {target} fails there, with exit status {status}.")
                return False
    say(console, "make test passes there.")
    return True


def _tell_news(console: Console, versions: Versions, before: str) -> None:
    """Say what changed and why, in the words of the changelog, or else of the commits."""
    path, template = versions.template.folder / "CHANGELOG.md", versions.template
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    known = template("show", f"{versions.old}:CHANGELOG.md", ok=(0, 128))
    since = numbers(before)
    news = []
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]:
        release = re.match(r"## \[?(v?\d+(?:\.\d+)+)", section)
        if numbers(release[1]) > since if since and release else section.strip() not in known:
            news.append(section)
    between = f"{versions.old}..{versions.new}"
    if said := "".join(news) or template(*LOG, "--format=- %s", "--max-count=10", between):
        _print_markdown(console, said)


def _print_markdown(console: Console, text: str) -> None:
    """Draw it on a terminal; in a log or a pull request it is best as it is."""
    if not console.is_terminal:
        return say(console, *text.rstrip().splitlines())
    from rich.markdown import Markdown

    console.print(Markdown(text))


def _tell_answers(
    console: Console,
    questions: Questions,
    recorded: dict[str, Any],
    answered: dict[Any, Any],
    answering: Answers,
) -> list[str]:
    """Show every answer that is not what it was; return those that nobody asked to change."""
    old, new, reset = _public(recorded), _public(answered), []
    for name in [*new, *(name for name in old if name not in new)]:
        if name not in new:
            say(console, f"no longer asked: {name}, which was {shown(old[name])}")
        elif name not in old:
            why = "as answered" if name in answering.given else "the default"
            what = questions.help(name, {**answering.context, **new})
            say(console, f"new question: {name} is {shown(new[name])}, {why}. {what}")
        elif old[name] != new[name] and name in answering.given:
            say(console, f"answered anew: {name} is {shown(new[name])}, was {shown(old[name])}")
        elif old[name] != new[name]:
            rule = answering.rules.get(name) or "the template works it out anew"
            was, now = shown(old[name]), shown(new[name])
            say(console, f"refused by the new version: {name}, {was} would be {now}; {rule}")
            reset.append(f"{name}={new[name]}")
    return reset


def _take(console: Console, top: Path, branch: str, merge: bool | None) -> None:
    """Merge a branch if that is wanted, or else say how. Raises Refusal when git does not."""
    if merge is None and console.is_terminal:
        with suppress(EOFError):
            merge = Confirm.ask(f"Merge {branch} now?", default=True, console=console)
    if not merge:
        return say(console, f"To take it: git merge {branch}")
    try:
        # As the user would, with their hooks. What has come in between is not written over.
        git = Repository(top, dict(os.environ), ())
        git("merge", "--quiet", "--ff-only", "--no-overwrite-ignore", branch)
    except Refusal as error:
        raise Refusal(f"{branch} is not merged; {error}") from None
    say(console, f"{branch} is merged.")
