"""Check a project and print one line per check; nothing is written."""

import ast
import os
import re
import shlex
import shutil
import symtable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from . import environment
from .addresses import credentials_apart
from .answers import ANSWERS, read_answers
from .checkout import find_earlier, find_top
from .files import read_inside, read_text
from .git import Repository, without_pointers
from .make import INSTALL, missing_tools, own_command
from .moves import GENERATED, moved_paths, read_generated, read_moves
from .output import say
from .questions import Questions, describe
from .refusal import Refusal
from .render import reason, render
from .template import Template, check_out, clone, list_releases, version_key

OK, NOTE, FAIL = "ok", "note", "FAIL"
LISTED = 5


@dataclass(frozen=True)
class Finding:
    """The result of one check, and the command that fixes it, if there is one."""

    check: str
    mark: str
    found: str
    command: str = ""


def doctor(folder: Path, template: str | None, console: Console) -> int:
    """Print the findings; return 1 if a check failed. Raises Refusal if it is not a project."""
    findings = examine(folder, template)
    for finding in findings:
        lines = [f"{finding.mark:<6}{finding.check:<13}{finding.found}"]
        lines += [f"{'':<19}{finding.command}"] * bool(finding.command)
        say(console, *lines)
    return int(any(finding.mark == FAIL for finding in findings))


def examine(folder: Path, template: str | None) -> list[Finding]:
    """Find problems that keep a project from running or from being updated; change nothing.

    Raises Refusal if it was not rendered, is not in git, or its answers cannot be read.
    """
    folder = Path(os.path.realpath(folder))
    if template and Path(template).expanduser().exists():
        template = str(Path(template).expanduser().resolve())
    if not (folder / ANSWERS).is_file():
        raise Refusal(f"{folder} was not created from a template: it has no {ANSWERS}")
    if not shutil.which("git"):
        raise Refusal("git is not installed: apt install git")
    find_top(Repository(folder), "create one: git init")
    try:
        answers, twice = read_answers(folder / ANSWERS)
        if twice:
            raise Refusal(f"{ANSWERS}: {twice[0]}")
    except Refusal as damage:
        commit = find_earlier(Repository(folder), folder / ANSWERS)
        raise Refusal(f"{damage}; or restore it: git checkout {commit} -- {ANSWERS}") from None
    with (
        without_pointers(),
        TemporaryDirectory(prefix="poc2prod-") as temporary,
        credentials_apart(str(template or answers.get("_src_path") or "")) as source,
    ):
        work = Path(temporary)
        there, rendered = work / "template", work / "render"
        package = Path("src", str(answers.get("package_name")))
        return [
            _check_version(folder, answers, source, there),
            _check_edits(folder, answers, there, rendered),
            _check_left_over(Repository(folder), there, rendered),
            _check_limits(folder, answers),
            _check_interface(folder / package, rendered / package),
            _check_tools(),
            _check_environment(folder),
        ]


def _check_version(folder: Path, answers: dict[Any, Any], source: str, template: Path) -> Finding:
    """Compare the recorded version with the newest one, and check it out to `template`."""
    check, at = "template", str(answers.get("_commit", ""))
    if not (at and source):
        return Finding(check, FAIL, f"{ANSWERS} records no version, so updates are not possible")
    try:
        git = clone(source, template, folder)
    except Refusal as unknown:
        return Finding(check, NOTE, f"{_name(at)}; cannot look for newer versions: {unknown}")
    if not (commit := git.find_commit(at)):
        missing = f"{_name(at)} is not in {source}, so updates are not possible"
        return Finding(check, FAIL, missing)
    later = [
        t for t in list_releases(git, "--no-merged", commit) if version_key(t) > version_key(at)
    ]
    behind = f"{len(later)} release{'s' * (len(later) > 1)} behind {''.join(later[-1:])}"
    if not list_releases(git):
        later = git("rev-list", f"{commit}..HEAD").split()
        behind = f"{len(later)} commit{'s' * (len(later) > 1)} behind the newest commit"
    try:
        check_out(git, commit)
    except Refusal as unsafe:
        shutil.rmtree(template)
        return Finding(check, FAIL, str(unsafe))
    if later:
        return Finding(check, NOTE, f"{_name(at)}, {behind} of {source}", f"{own_command()} update")
    return Finding(check, OK, f"{_name(at)} is the newest version of {source}")


def _name(version: str) -> str:
    """Name a version: a release, or the commit that `git describe` found."""
    return version if version_key(version) else f"commit {version}"


def _check_edits(folder: Path, answers: dict[Any, Any], template: Path, rendered: Path) -> Finding:
    """Render the recorded answers again; list files of the template that differ."""
    if not (template / "copier.yml").is_file():
        return Finding("edits", NOTE, "unknown without that version of the template")
    from pathspec import PathSpec

    try:
        generated = _list_generated(template)
        (template / ".git").rename(template.with_suffix(".git"))  # a folder renders faster
        questions = Questions.read(template)
        given = {name: value for name, value in answers.items() if name in questions.specs}
        render(Template(str(template), template, "HEAD"), given, rendered)
        owned = [questions.text(p, given) for p in questions.settings.get("_skip_if_exists", [])]
    except (Refusal, OSError) as error:
        why = reason(error.__cause__ or error)
        return Finding("edits", FAIL, f"the recorded answers cannot be rendered: {why}")
    is_owned = PathSpec.from_lines("gitignore", [*owned, f"/{ANSWERS}"]).match_file
    names = [
        path.relative_to(rendered).as_posix() for path in rendered.rglob("*") if path.is_file()
    ]
    edited = [
        name if (folder / name).is_file() else f"{name} (deleted)"
        for name in sorted(names)
        if not is_owned(name)
        and name not in generated
        and _content(folder / name) != _content(rendered / name)
    ]
    if not edited:
        return Finding("edits", OK, "you have not edited files of the template")
    return Finding("edits", NOTE, f"you have edited {_join(edited)}; updates merge your edits")


def _list_generated(template: Path) -> list[str]:
    """List files that commands of a project write, by the newest version of the template.

    The recorded version may be older than this list.
    """
    git, newest = Repository(template), template.with_name("newest")
    lists = (
        git("cat-file", "-p", f"{v}:{GENERATED}", ok=(0, 128)) for v in ("origin/HEAD", "HEAD")
    )
    text = next(filter(None, lists), "")
    (newest / GENERATED).parent.mkdir(parents=True)
    (newest / GENERATED).write_text(text, "utf-8")
    return read_generated(newest)


def _check_left_over(git: Repository, template: Path, rendered: Path) -> Finding:
    names = set(
        git("grep", "--no-recurse-submodules", "-IlzE", "^(<{7}|>{7}) ", ok=(0, 1)).split("\0")
    ) | {*git.unmerged()}
    names |= {n for n in git.rows("ls-files", "-coz", "--exclude-standard") if n.endswith(".rej")}
    if left := sorted(filter(None, names)):
        found = f"conflict markers or rejected hunks: {_join(left)}"
        fix = f"git mergetool, or edit them and: git add -- {shlex.join(left[:LISTED])}"
        return Finding("left over", FAIL, found, fix)
    if moved := _find_at_old_paths(git, template, rendered):
        rows = [f"{was} is now {now}" for was, now in moved.items()]
        found = f"files at old paths: {_join(rows)}; move your edits over first"
        return Finding("left over", NOTE, found, f"git rm -- {shlex.join(moved)}")
    return Finding("left over", OK, "no conflict markers and no rejected hunks")


def _find_at_old_paths(git: Repository, template: Path, rendered: Path) -> dict[str, str]:
    """Return the new path of each file that is also at its old path.

    `copier update` leaves such files, because it cannot move the edits in them.
    """
    if not rendered.is_dir():
        return {}
    moves, names = read_moves(template), git.rows("ls-files", "-z")
    old = [name for name in names if not (rendered / name).exists()]
    return {was: now for name in old for was, now in moved_paths(moves, [name], names).items()}


def _check_limits(folder: Path, answers: dict[Any, Any]) -> Finding:
    try:
        read_inside(folder, Path("scope.yaml"))
        scope, _ = read_answers(folder / "scope.yaml")
    except (Refusal, OSError) as damage:
        return Finding("limits", FAIL, str(damage), "git checkout HEAD -- scope.yaml")
    changed = {name: scope[name] for name in scope if scope[name] != answers.get(name, scope[name])}
    if not changed:
        return Finding("limits", OK, f"scope.yaml has the values recorded in {ANSWERS}")
    both = [
        f"{n}: scope.yaml {describe(v)}, recorded {describe(answers[n])}"
        for n, v in changed.items()
    ]
    found = f"{_join(both)}; to record the values of scope.yaml:"
    given = [word for name, value in changed.items() for word in ("--answer", f"{name}={value}")]
    update = f"{own_command()} update --to current {shlex.join(given)}"
    return Finding("limits", NOTE, found, update)


def _check_interface(package: Path, rendered: Path) -> Finding:
    """Compare the names that `task/` exports with those that other modules import."""
    if not package.is_dir():
        return Finding("task", NOTE, f"not checked: {package} does not exist")
    lacking: dict[str, set[str]] = {}
    try:
        for wiring in sorted(package.glob("*.py")):
            for module, name in _imports(wiring, package.name):
                if not {name, "*"} & _exports(package.joinpath(*module)):
                    lacking.setdefault("/".join(module), set()).add(name)
    except Refusal as unsafe:
        return Finding("task", FAIL, str(unsafe))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Finding("task", FAIL, f"not valid Python: {error}", "uv run ruff check")
    problems = [f"{module}.py has no {_join(sorted(lacking[module]))}" for module in lacking]
    ours, theirs = (_number(where / "task" / "__init__.py") for where in (package, rendered))
    if theirs and ours != theirs:
        problems += [f"task/ has interface {ours or 'none'}; the template needs {theirs}"]
    if problems:
        return Finding("task", FAIL, "; ".join(problems), "uv run mypy")
    return Finding("task", OK, f"interface {ours or 'without a number'}, no names missing")


def _imports(wiring: Path, package: str) -> Iterator[tuple[list[str], str]]:
    """Yield the imports of a module from `task/`, as the parts of a path and a name."""
    for node in ast.walk(ast.parse(read_inside(wiring.parent, Path(wiring.name)), wiring.name)):
        if isinstance(node, ast.ImportFrom) and node.level < 2:
            parts = [package] * node.level + (node.module or "").split(".")
            if parts[:2] == [package, "task"]:
                yield from ((parts[1:], alias.name) for alias in node.names)


def _exports(module: Path) -> set[str]:
    """List the names of a module, and "*" if it may have others; none if it is missing."""
    file = module.with_suffix(".py")
    file = file if file.is_file() else module / "__init__.py"
    text = read_text(file.parent, Path(file.name), default="")
    symbols = symtable.symtable(text, file.name, "exec").get_symbols()
    names = {
        symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()
    }
    return names | {path.stem for path in module.glob("*")} | {*re.findall(r"import (\*)", text)}


def _number(file: Path) -> str:
    text = read_text(file.parent, Path(file.name), default="")
    found = re.search(r"^INTERFACE\b[^=\n]*=\s*(\d+)", text, re.MULTILINE)
    return found[1] if found else ""


def _check_tools() -> Finding:
    if missing := missing_tools():
        how = " && ".join(INSTALL[tool] for tool in missing)
        return Finding("tools", FAIL, f"missing: {', '.join(missing)}", how)
    return Finding("tools", OK, "git, make and uv are installed")


def _check_environment(folder: Path) -> Finding:
    check = "environment"
    place = folder / os.environ.get("UV_PROJECT_ENVIRONMENT", ".venv")
    if not shutil.which("uv"):
        return Finding(check, NOTE, "not checked without uv", "pip install uv && make setup")
    for path in (folder / environment.LOCK, place):
        if not path.exists():
            return Finding(check, FAIL, f"{path.name} is missing", "make setup")
    if problem := environment.find_problem(folder, place):
        is_known = problem != environment.DYNAMIC
        return Finding(check, FAIL if is_known else NOTE, problem, "make setup" * is_known)
    return Finding(check, OK, f"{place.name} matches uv.lock")


def _content(file: Path) -> bytes | None:
    return file.read_bytes().replace(b"\r\n", b"\n") if file.is_file() else None


def _join(names: list[str]) -> str:
    more = [f"and {len(names) - LISTED} more"] if len(names) > LISTED else []
    return ", ".join([*names[:LISTED], *more])
