"""A small template with releases, projects rendered from it, and `poc2prod update`."""

import contextlib
import hashlib
import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import copier
import pytest
from rich.console import Console

from poc2prod.refusal import Refusal
from poc2prod.update import update
from repository import commit_files, git, write_files

ANSWERS = ".copier-answers.yml"
Files = dict[str, str | bytes | None]
# Tests of updates run in `make test-all`, and check that no temporary files remain.
MARKS = [pytest.mark.long, pytest.mark.usefixtures("temporary")]

COPIER_YML = """\
package: {type: str, default: pack}
target: {type: str, default: cloud, choices: [cloud, edge, hybrid]}
size: {type: int, default: 5}
_subdirectory: template
_exclude:
  - "{% if target == 'edge' %}/serve.py{% endif %}"
_skip_if_exists: [/README.md, "{{ package }}/task/"]
"""
CODE = "".join(f"line {number} of the code\n" for number in range(1, 21))
MORE = "".join(f"{number} is another file\n" for number in range(1, 21))
CODE_PY: Files = {"code.py": CODE}


def edit_lines(text: str, *numbers: int, by: str) -> str:
    lines = text.splitlines(keepends=True)
    for number in numbers:
        lines[number - 1] = f"line {number} by the {by}\n"
    return "".join(lines)


def by_user(*numbers: int) -> str:
    return edit_lines(CODE, *numbers, by="user")


def by_both(theirs: int, ours: int) -> str:
    return edit_lines(edit_lines(CODE, theirs, by="template"), ours, by="user")


def by_template(*numbers: int) -> str:
    return edit_lines(CODE, *numbers, by="template")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for temporary files, which tests check to be empty at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def release_template(folder: Path, files: Files, tag: str | None, **others: str) -> Path:
    """Write files of a template, and commit them as a release."""
    if not (folder / ".git").exists():
        git(folder.parent, "init", "--quiet", "--template=", folder.name)
        write_files(folder, {"copier.yml": COPIER_YML})
        name = "template/{{ _copier_conf.answers_file }}.jinja"
        write_files(folder, {name: "{{ _copier_answers | to_nice_yaml }}"})
    write_files(folder, {f"template/{name}": text for name, text in files.items()})
    write_files(
        folder,
        {name.replace("_yml", ".yml").replace("_md", ".md"): others[name] for name in others},
    )
    return commit_files(folder, tag=tag or "")


def render_project(template: str | Path, folder: Path, **answers: Any) -> Path:
    """Render the newest release as a project, and commit it."""
    copier.run_copy(str(template), folder, answers, defaults=True, quiet=True)
    return commit_files(folder)


@pytest.fixture(scope="session")
def start_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Files, Path], None]:
    """Create a template with one release in `source`, and a project of it in `mine`."""
    cache: dict[str, Path] = {}

    def start(first: Files, folder: Path) -> None:
        if (key := repr(first)) not in cache:
            cache[key] = tmp_path_factory.mktemp("start")
            release_template(cache[key] / "source", first, "v1.0.0")
            with contextlib.chdir(cache[key]):
                render_project("source", cache[key] / "mine")
            source = "_src_path: ../source\n"
            text = (cache[key] / "mine" / ANSWERS).read_text()
            commit_files(
                cache[key] / "mine", {ANSWERS: text.replace("_src_path: source\n", source)}
            )
        for name in ("source", "mine"):
            shutil.copytree(cache[key] / name, folder / name, symlinks=True)

    return start


@pytest.fixture
def template(tmp_path: Path, start_project: Callable[[Files, Path], None]) -> Path:
    start_project({"code.py": CODE, "README.md": "Read me.\n"}, tmp_path)
    return tmp_path / "source"


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """A project at v1.0.0 of a template that also has v1.1.0."""
    release_template(template, {"code.py": CODE.replace("line 3", "LINE 3")}, "v1.1.0")
    return tmp_path / "mine"


def run(project: Path, *answers: str, **options: Any) -> tuple[int, str]:
    """Update, and return the exit status and the output."""
    defaults: dict[str, Any] = {
        "to": None,
        "template": None,
        "dry_run": False,
        "test": False,
        "merge": None,
    }
    console = Console(file=io.StringIO(), width=100)
    status = update(project, console, answers=list(answers), **{**defaults, **options})
    assert isinstance(console.file, io.StringIO)
    return status, console.file.getvalue()


def expect_refusal(project: Path, *answers: str, **options: Any) -> str:
    """Return the message of a rejected update, which must leave no traces."""
    before = state(project), traces(project)
    with pytest.raises(Refusal) as caught:
        run(project, *answers, **options)
    assert (state(project), traces(project)) == before
    return str(caught.value)


def state(project: Path) -> tuple[object, ...]:
    """Return the user's state: branch, index and every file, ignored or not."""
    where = git(project, "rev-parse", "--show-toplevel", "--absolute-git-dir", "HEAD")
    top, git_dir, head = map(Path, where.splitlines())
    files = {
        str(path.relative_to(top)): (path.lstat().st_mode, path.lstat().st_mtime_ns, sha(path))
        for path in top.rglob("*")
        if ".git" not in path.relative_to(top).parts
    }
    return sha(git_dir / "index"), (git_dir / "HEAD").read_text(), head, files


def sha(path: Path) -> str:
    if path.is_symlink():
        return str(path.readlink())
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"


def traces(project: Path) -> tuple[object, ...]:
    """Return what only a finished update may change: refs, worktrees and neighbouring folders."""
    top = Path(git(project, "rev-parse", "--show-toplevel").strip())
    folders = [
        sorted(map(str, where.iterdir())) for where in (top.parent, top.parent / "temporary")
    ]
    return git(project, "for-each-ref"), git(project, "worktree", "list"), folders


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }
