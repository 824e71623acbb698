"""Checks a project and prints one line per check; nothing is written."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import symtable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from .answers import ANSWERS, read_answers
from .git import Repository, without_pointers
from .make import child_environment
from .moves import moved_paths, read_moves
from .output import say
from .questions import Questions, describe
from .refusal import Refusal
from .render import reason, render
from .template import Template, clone, list_releases, version_key

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
    """Print what each check found; 1 if something is wrong. Raises Refusal if it is no project."""
    findings = examine(folder, template)
    for finding in findings:
        lines = [f"{finding.mark:<6}{finding.check:<13}{finding.found}"]
        lines += [f"{'':<19}{finding.command}"] * bool(finding.command)
        say(console, *lines)
    return int(any(finding.mark == FAIL for finding in findings))


def examine(folder: Path, template: str | None) -> list[Finding]:
    """Look at what keeps a project from running, or from being updated, and change nothing.

    Raises Refusal when it is no render, in no git repository, or its answers are damaged.
    """
    folder = Path(os.path.realpath(folder))
    if template and Path(template).expanduser().exists():
        template = str(Path(template).expanduser().resolve())
    if not (folder / ANSWERS).is_file():
        raise Refusal(f"{folder} is no project of a template: it has no {ANSWERS}")
    if not shutil.which("git"):
        raise Refusal("git is needed to look at a project: apt install git")
    try:
        Repository(folder)("rev-parse", "--show-toplevel")
    except Refusal:
        raise Refusal(f"{folder} is in no git repository; make one: git init") from None
    try:
        answers, twice = read_answers(folder / ANSWERS)
        if twice:
            raise Refusal(f"{ANSWERS}: {twice[0]}")
    except Refusal as damage:
        raise Refusal(f"{damage}; or restore it: git checkout HEAD -- {ANSWERS}") from None
    with without_pointers(), TemporaryDirectory(prefix="poc2prod-") as temporary:
        work = Path(temporary)
        there, rendered = work / "template", work / "render"
        package = Path("src", str(answers.get("package_name")))
        return [
            _check_version(folder, answers, template or answers.get("_src_path"), there),
            _check_drift(folder, answers, there, rendered),
            _check_left_over(Repository(folder), there, rendered),
            _check_promises(folder, answers),
            _check_interface(folder / package, rendered / package),
            _check_tools(),
            _check_environment(folder, temporary),
        ]


def _check_version(
    folder: Path, answers: dict[Any, Any], source: object, template: Path
) -> Finding:
    """Compare the recorded version with the newest one, and check it out to `template`."""
    check, at = "template", str(answers.get("_commit", ""))
    if not (at and isinstance(source, str)):
        return Finding(check, FAIL, f"{ANSWERS} records no version, so no update can start from it")
    try:
        git = clone(source, template, folder)
    except Refusal as unknown:
        return Finding(check, NOTE, f"{at}; how far behind is unknown: {unknown}")
    if not (commit := git.find_commit(at)):
        return Finding(check, FAIL, f"{at} is not in {source}, so no update can start from it")
    later = [
        t for t in list_releases(git, "--no-merged", commit) if version_key(t) > version_key(at)
    ]
    behind = f"{len(later)} release{'s' * (len(later) > 1)} behind {''.join(later[-1:])}"
    if not list_releases(git):
        later = git("rev-list", f"{commit}..HEAD").split()
        behind = f"{len(later)} commit{'s' * (len(later) > 1)} behind the newest"
    git("checkout", "--quiet", "--detach", commit)
    if later:
        return Finding(check, NOTE, f"{at}, {behind} of {source}", "poc2prod update")
    return Finding(check, OK, f"{at}; {source} has nothing newer")


def _check_drift(folder: Path, answers: dict[Any, Any], template: Path, rendered: Path) -> Finding:
    """Render the recorded answers again; list files of the template that differ."""
    if not (template / "copier.yml").is_file():
        return Finding("drift", NOTE, "unknown without that version of the template")
    from pathspec import PathSpec

    try:
        (template / ".git").rename(template.with_suffix(".git"))  # a folder renders faster
        questions = Questions.read(template)
        given = {name: value for name, value in answers.items() if name in questions.specs}
        render(Template(str(template), template, "HEAD"), given, rendered)
        owned = [questions.text(p, given) for p in questions.settings.get("_skip_if_exists", [])]
    except (Refusal, OSError) as error:
        why = reason(error.__cause__ or error)
        return Finding("drift", FAIL, f"the recorded answers cannot be rendered: {why}")
    is_owned = PathSpec.from_lines("gitignore", [*owned, f"/{ANSWERS}"]).match_file
    names = [
        path.relative_to(rendered).as_posix() for path in rendered.rglob("*") if path.is_file()
    ]
    edited = [
        name if (folder / name).is_file() else f"{name} (deleted)"
        for name in sorted(names)
        if not is_owned(name) and _content(folder / name) != _content(rendered / name)
    ]
    if not edited:
        return Finding("drift", OK, "the template's files are as they were rendered")
    return Finding("drift", NOTE, f"edited, and merged by updates: {_join(edited)}")


def _check_left_over(git: Repository, template: Path, rendered: Path) -> Finding:
    names = set(git("grep", "-IlzE", "^(<{7}|>{7}) ", ok=(0, 1)).split("\0")) | {*git.unmerged()}
    names |= {n for n in git.rows("ls-files", "-coz", "--exclude-standard") if n.endswith(".rej")}
    if left := sorted(filter(None, names)):
        found = f"conflict markers or rejected hunks: {_join(left)}"
        mend = f"git mergetool, or edit them and: git add -- {shlex.join(left[:LISTED])}"
        return Finding("left over", FAIL, found, mend)
    if moved := _find_at_old_paths(git, template, rendered):
        rows = [f"{was} is now {now}" for was, now in moved.items()]
        found = f"files at old paths: {_join(rows)}; move your edits over first"
        return Finding("left over", NOTE, found, f"git rm -- {shlex.join(moved)}")
    return Finding("left over", OK, "no conflict markers and no rejected hunks")


def _find_at_old_paths(git: Repository, template: Path, rendered: Path) -> dict[str, str]:
    """Return the new path of each file that is still at its old path too.

    `copier update` leaves files there, because it cannot move the edits in them.
    """
    if not rendered.is_dir():
        return {}
    moves, names = read_moves(template), git.rows("ls-files", "-z")
    old = [name for name in names if not (rendered / name).exists()]
    return {was: now for name in old for was, now in moved_paths(moves, [name], names).items()}


def _check_promises(folder: Path, answers: dict[Any, Any]) -> Finding:
    try:
        scope, _ = read_answers(folder / "scope.yaml")
    except Refusal as damage:
        return Finding("promises", FAIL, str(damage), "git checkout HEAD -- scope.yaml")
    changed = {name: scope[name] for name in scope if scope[name] != answers.get(name, scope[name])}
    if not changed:
        return Finding("promises", OK, "scope.yaml promises what the answers recorded")
    both = [
        f"{n}: recorded {describe(answers[n])}, promised {describe(v)}" for n, v in changed.items()
    ]
    found = f"{_join(both)}; the next re-answer starts from what is recorded"
    given = [word for name, value in changed.items() for word in ("--answer", f"{name}={value}")]
    return Finding("promises", NOTE, found, f"poc2prod update --to current {shlex.join(given)}")


def _check_interface(package: Path, rendered: Path) -> Finding:
    """Compare what `task/` exports with what the modules beside it import."""
    if not package.is_dir():
        return Finding("task", NOTE, f"unknown, because there is no {package}")
    lacking: dict[str, set[str]] = {}
    try:
        for wiring in sorted(package.glob("*.py")):
            for module, name in _imports(wiring, package.name):
                if not {name, "*"} & _exports(package.joinpath(*module)):
                    lacking.setdefault("/".join(module), set()).add(name)
    except (SyntaxError, ValueError) as error:
        return Finding("task", FAIL, f"not Python: {error}", "uv run ruff check")
    problems = [f"{module}.py has no {_join(sorted(lacking[module]))}" for module in lacking]
    ours, theirs = (_number(where / "task" / "__init__.py") for where in (package, rendered))
    if theirs and ours != theirs:
        problems += [f"task/ has interface {ours or 'none'}, and the template asks for {theirs}"]
    if problems:
        return Finding("task", FAIL, "; ".join(problems), "uv run mypy")
    return Finding("task", OK, f"interface {ours or 'without a number'}, and no name is missing")


def _imports(wiring: Path, package: str) -> Iterator[tuple[list[str], str]]:
    """List what a module imports from `task/`, as the parts of a path and a name."""
    for node in ast.walk(ast.parse(wiring.read_bytes(), wiring.name)):
        if isinstance(node, ast.ImportFrom) and node.level < 2:
            parts = [package] * node.level + (node.module or "").split(".")
            if parts[:2] == [package, "task"]:
                yield from ((parts[1:], alias.name) for alias in node.names)


def _exports(module: Path) -> set[str]:
    """List the names a module has, and "*" if there may be others; none if it is missing."""
    file = module.with_suffix(".py")
    file = file if file.is_file() else module / "__init__.py"
    text = file.read_text("utf-8", "replace") if file.is_file() else ""
    symbols = symtable.symtable(text, file.name, "exec").get_symbols()
    names = {
        symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()
    }
    return names | {path.stem for path in module.glob("*")} | {*re.findall(r"import (\*)", text)}


def _number(file: Path) -> str:
    text = file.read_text("utf-8", "replace") if file.is_file() else ""
    found = re.search(r"^INTERFACE\b[^=\n]*=\s*(\d+)", text, re.MULTILINE)
    return found[1] if found else ""


def _check_tools() -> Finding:
    install = {"make": "apt install make", "uv": "pip install uv"}
    missing = [tool for tool in install if not shutil.which(tool)]
    if missing:
        how = " && ".join(install[tool] for tool in missing)
        return Finding("tools", FAIL, f"missing: {', '.join(missing)}", how)
    return Finding("tools", OK, "git, make and uv, which brings dvc")


def _check_environment(folder: Path, temporary: str) -> Finding:
    check, uv = "environment", shutil.which("uv")
    environment = folder / os.environ.get("UV_PROJECT_ENVIRONMENT", ".venv")
    if not uv:
        return Finding(check, NOTE, "unknown without uv", "pip install uv && make setup")
    for path in (folder / "uv.lock", environment):
        if not path.exists():
            return Finding(check, FAIL, f"there is no {path.name}", "make setup")

    def run_uv(*arguments: str) -> tuple[int, str]:
        # Offline: newer packages are not looked for, and looking takes seconds.
        command = [uv, *arguments, "--offline", "--no-python-downloads", "--color=never"]
        aside = child_environment() | {"TMPDIR": temporary}  # where uv leaves its lock files
        process = subprocess.run(command, cwd=folder, env=aside, capture_output=True, text=True)
        return process.returncode, process.stderr

    if run_uv("lock", "--check")[0]:
        return Finding(check, FAIL, "uv.lock does not fit pyproject.toml", "make setup")
    status, output = run_uv("sync", "--check", "--frozen", "--all-extras")
    # Only the project itself, after an edit of pyproject.toml: the next `uv run` sees to that.
    changes = set(re.findall(r"^ [-+~] ([\w.-]+)(?!.*file://)", output, re.MULTILINE))
    if status and (changes or "file://" not in output):
        found = f"not what uv.lock says: {_join(sorted(changes)) or output.strip()[-80:]}"
        return Finding(check, FAIL, found, "make setup")
    return Finding(check, OK, f"{environment.name} is what uv.lock says")


def _content(file: Path) -> bytes | None:
    return file.read_bytes().replace(b"\r\n", b"\n") if file.is_file() else None


def _join(names: list[str]) -> str:
    more = [f"and {len(names) - LISTED} more"] if len(names) > LISTED else []
    return ", ".join([*names[:LISTED], *more])
