"""`poc2prod update`: what the user wrote survives whatever the template does, and every kill."""

import contextlib
import hashlib
import io
import os
import random
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from rich.console import Console

from environment import release
from poc2prod.refusal import Refusal
from poc2prod.update import update
from repository import committed, git, written

pytestmark = pytest.mark.long
ANSWERS = ".copier-answers.yml"
Files = dict[str, str | bytes | None]

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
JOBS = "".join(f"  {job}:\n    steps:\n      - setup\n      - run\n" for job in ("test", "build"))
PIXELS = bytes(range(256)) * 4


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of our own for what is temporary, to see whether something was left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def released(folder: Path, files: Files, tag: str | None, **others: str) -> Path:
    """Write files of a template and commit them as a release."""
    if not (folder / ".git").exists():
        git(folder.parent, "init", "--quiet", "--template=", folder.name)
        written(folder, {"copier.yml": COPIER_YML})
        name = "template/{{ _copier_conf.answers_file }}.jinja"
        written(folder, {name: "{{ _copier_answers | to_nice_yaml }}"})
    written(folder, {f"template/{name}": text for name, text in files.items()})
    written(
        folder,
        {name.replace("_yml", ".yml").replace("_md", ".md"): others[name] for name in others},
    )
    return committed(folder, tag=tag or "")


def rendered(template: str | Path, folder: Path, **answers: Any) -> Path:
    """Render the newest release as somebody's project, and commit it."""
    copier.run_copy(str(template), folder, answers, defaults=True, quiet=True)
    return committed(folder)


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Files, Path], None]:
    """Put into a folder a template with one release, `source`, and its render, `mine`."""
    done: dict[str, Path] = {}

    def start(first: Files, folder: Path) -> None:
        if (key := repr(first)) not in done:
            done[key] = tmp_path_factory.mktemp("started")
            released(done[key] / "source", first, "v1.0.0")
            with contextlib.chdir(done[key]):
                rendered("source", done[key] / "mine")
            source = "_src_path: ../source\n"
            text = (done[key] / "mine" / ANSWERS).read_text()
            committed(done[key] / "mine", {ANSWERS: text.replace("_src_path: source\n", source)})
        for name in ("source", "mine"):
            shutil.copytree(done[key] / name, folder / name, symlinks=True)

    return start


@pytest.fixture
def template(tmp_path: Path, started: Callable[[Files, Path], None]) -> Path:
    started({"code.py": CODE, "README.md": "Read me.\n"}, tmp_path)
    return tmp_path / "source"


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """Rendered at v1.0.0; the template has a v1.1.0, too."""
    released(template, {"code.py": CODE.replace("line 3", "LINE 3")}, "v1.1.0")
    return tmp_path / "mine"


def run(project: Path, *answers: str, **options: Any) -> tuple[int, str]:
    """Update, and return the exit code and the words."""
    told = {"to": None, "template": None, "dry_run": False, "test": False, "merge": None}
    console = Console(file=io.StringIO(), width=100)
    status = update(project, console, answers=list(answers), **{**told, **options})
    assert isinstance(console.file, io.StringIO)
    return status, console.file.getvalue()


def refused(project: Path, *answers: str, **options: Any) -> str:
    """The words of a refusal that left nothing behind."""
    before = state(project), traces(project)
    with pytest.raises(Refusal) as caught:
        run(project, *answers, **options)
    assert (state(project), traces(project)) == before
    return str(caught.value)


def state(project: Path) -> tuple[object, ...]:
    """All that is the user's: branch, index, and every file, ignored or not."""
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
    """What an update may leave when it is done, and at no other time."""
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


# The 23 situations of facts/copier.md, in 11 of which `copier update` loses work

BOTH = "both sides, between markers"


@dataclass(frozen=True)
class Situation:
    """A first release, what the second one changes, what the user has, and what comes of it."""

    name: str
    first: Files
    second: Files
    user: Files
    after: Files
    status: int = 0
    answers: tuple[str, ...] = ()
    says: str = ""
    settings: dict[str, str] = field(default_factory=dict)


def edited(text: str, *numbers: int, by: str) -> str:
    lines = text.splitlines(keepends=True)
    for number in numbers:
        lines[number - 1] = f"line {number} by the {by}\n"
    return "".join(lines)


def by_user(*numbers: int) -> str:
    return edited(CODE, *numbers, by="user")


def by_both(theirs: int, ours: int) -> str:
    return edited(edited(CODE, theirs, by="template"), ours, by="user")


def by_template(*numbers: int) -> str:
    return edited(CODE, *numbers, by="template")


CODE_PY: Files = {"code.py": CODE}
SITUATIONS = [
    Situation(
        "1 the same line",
        CODE_PY,
        {"code.py": by_template(5)},
        {"code.py": by_user(5)},
        {"code.py": BOTH},
        status=1,
        says="code.py: both changed it",
    ),
    Situation(
        "2 different lines",
        CODE_PY,
        {"code.py": by_template(5)},
        {"code.py": by_user(9)},
        {"code.py": by_both(5, 9)},
    ),
    Situation(
        "3 adjacent lines",
        CODE_PY,
        {"code.py": by_template(5)},
        {"code.py": by_user(6)},
        {"code.py": BOTH},
        status=1,
    ),
    Situation(
        "4 the template drops what the user edited",
        CODE_PY,
        {"code.py": None, "other.py": MORE},
        {"code.py": by_user(5)},
        {"code.py": by_user(5), "other.py": MORE},
        status=1,
        says="code.py: you changed it, the template has dropped it",
    ),
    Situation(
        "5 the template moves what the user edited",
        CODE_PY,
        {"code.py": None, "moved.py": CODE},
        {"code.py": by_user(5)},
        {"code.py": None, "moved.py": by_user(5)},
        says="code.py -> moved.py",
    ),
    Situation(
        "6 the template moves and edits what the user edited",
        CODE_PY,
        {"code.py": None, "moved.py": by_template(5)},
        {"code.py": by_user(9)},
        {"code.py": None, "moved.py": by_both(5, 9)},
        says="code.py -> moved.py",
    ),
    Situation(
        "7 the user moves what the template edits",
        CODE_PY,
        {"code.py": by_template(5)},
        {"code.py": None, "mine.py": by_user(9)},
        {"code.py": None, "mine.py": by_both(5, 9)},
        says="code.py -> mine.py",
    ),
    Situation(
        "8 the user moves a folder to which the template adds",
        {"pack/a.py": CODE, "pack/b.py": MORE},
        {"pack/a.py": by_template(5), "pack/new.py": "new\n"},
        {"pack/a.py": None, "pack/b.py": None, "box/a.py": CODE, "box/b.py": MORE},
        {"box/a.py": by_template(5), "box/new.py": "new\n", "pack/new.py": None, "pack/a.py": None},
    ),
    Situation(
        "9 the user drops what the template edits",
        {"code.py": CODE, "other.py": MORE},
        {"code.py": by_template(5)},
        {"code.py": None},
        {"code.py": None, "other.py": MORE},
        says="not brought back, though the template changed them:\n  code.py",
    ),
    Situation(
        "10 jobs that look alike",
        {"ci.yml": f"jobs:\n{JOBS}"},
        {"ci.yml": f"jobs:\n{JOBS.replace('test', 'lint').replace('build', 'docs')}{JOBS}"},
        {"ci.yml": f"jobs:\n{JOBS.replace('- run', '- run --slow', 1)}"},
        {
            "ci.yml": f"jobs:\n{JOBS.replace('test', 'lint').replace('build', 'docs')}"
            f"{JOBS.replace('- run', '- run --slow', 1)}"
        },
    ),
    Situation(
        "11 the user edits a binary",
        {"logo.png": PIXELS, "code.py": CODE},
        {"code.py": by_template(5)},
        {"logo.png": PIXELS[::-1]},
        {"logo.png": PIXELS[::-1], "code.py": by_template(5)},
    ),
    Situation(
        "12 both edit a binary",
        {"logo.png": PIXELS},
        {"logo.png": PIXELS * 2},
        {"logo.png": PIXELS[::-1]},
        {"logo.png": PIXELS[::-1]},
        status=1,
        says="logo.png: both changed it",
    ),
    Situation(
        "13 the user edits a render that git ignores",
        {".gitignore.jinja": ".env\n", ".env": "KEY=\n", "code.py": CODE},
        {".env": "KEY=\nNEW=\n", "code.py": by_template(5)},
        {".env": "KEY=secret\n"},
        {".env": "KEY=secret\n", "code.py": by_template(5)},
        says="Not tracked by git, so kept, though the template changed them:\n  .env",
    ),
    Situation(
        "14 the template brings what the user has and git ignores",
        {".gitignore.jinja": "data/\n"},
        {"data/labels.csv": "a,b\n"},
        {"data/labels.csv": "years of work\n"},
        {"data/labels.csv": "years of work\n"},
        status=2,
        says="git does not track data/labels.csv, and the new version would write over that",
    ),
    Situation(
        "15 both add the same file",
        {},
        {"new.py": by_template(5)},
        {"new.py": by_user(5)},
        {"new.py": BOTH},
        status=1,
        says="new.py: both added it",
    ),
    Situation(
        "16 the template turns a file into a folder",
        {"conf": "a = 1\n", "code.py": CODE},
        {"conf": None, "conf/a": MORE, "conf/b": "b = 1\n"},
        {"code.py": by_user(5)},
        {"conf/a": MORE, "conf/b": "b = 1\n", "code.py": by_user(5)},
    ),
    Situation(
        "17 the user has a folder where the template adds a file",
        CODE_PY,
        {"conf": "a = 1\n"},
        {"conf/mine.toml": "mine = 1\n"},
        {"conf/mine.toml": "mine = 1\n", "conf~template_v2.0.0": "a = 1\n"},
        status=1,
        says="conf~template_v2.0.0: the template's, moved or in the way of yours",
    ),
    Situation(
        "18 an answer drops what the user edited",
        {"serve.py": CODE},
        {},
        {"serve.py": by_user(5)},
        {"serve.py": by_user(5)},
        status=1,
        answers=("target=edge",),
        says="serve.py: you changed it, the template has dropped it",
    ),
    Situation(
        "19 an answer moves the folder in which the user works",
        {"{{ package }}/code.py": CODE, "{{ package }}/task/model.py": MORE},
        {
            "{{ package }}/code.py": by_template(5),
            "{{ package }}/task/model.py": edited(MORE, 5, by="template"),
        },
        {"pack/code.py": by_user(9), "pack/mine.py": "mine\n", "pack/task/model.py": "my model\n"},
        {
            "box/code.py": by_both(5, 9),
            "box/mine.py": "mine\n",
            "pack/code.py": None,
            "pack/mine.py": None,
            "box/task/model.py": "my model\n",
        },
        answers=("package=box",),
        says="answered anew: package is 'box', was 'pack'",
    ),
    Situation(
        "20 the template edits what is the user's",
        {"README.md": CODE, "pack/task/a.py": CODE},
        {"README.md": by_template(5), "pack/task/a.py": by_template(5)},
        {"README.md": by_user(9)},
        {"README.md": by_user(9), "pack/task/a.py": CODE},
        says="Yours, so kept, though the template changed them:\n  README.md\n  pack/task/a.py\n",
    ),
    Situation(
        "21 the template drops what is the user's",
        {"README.md": CODE, "code.py": CODE},
        {"README.md": None},
        {"README.md": by_user(5)},
        {"README.md": by_user(5)},
        says="Yours, so kept, though the template changed them:\n  README.md\n",
    ),
    Situation(
        "22 the user changed the ends of all lines",
        CODE_PY,
        {"code.py": by_template(5)},
        {"code.py": CODE.replace("\n", "\r\n")},
        {"code.py": BOTH},
        status=1,
    ),
    Situation(
        "23 the template adds a script",
        CODE_PY,
        {"run.sh": "#!/bin/sh\n"},
        {"code.py": by_user(5)},
        {"run.sh": "#!/bin/sh\n", "code.py": by_user(5)},
    ),
    # Beyond the 23
    Situation(
        "an owned file that the user moved",
        {"README.md": CODE},
        {"README.md": by_template(5)},
        {"README.md": None, "docs/intro.md": by_user(9)},
        {"README.md": None, "docs/intro.md": by_user(9)},
    ),
    Situation(
        "an owned file that is new, and there already",
        CODE_PY,
        {"README.md": by_template(5)},
        {"README.md": "mine\n"},
        {"README.md": "mine\n"},
        says="Yours, so kept, though the template changed them:\n  README.md\n",
    ),
    Situation(
        "the template moves what is the user's",
        {"pack/task/a.py": CODE, "pack/task/b.py": MORE},
        {"pack/task/a.py": None, "pack/task/sub/a.py": by_template(5)},
        {"pack/task/a.py": by_user(9)},
        {"pack/task/a.py": None, "pack/task/sub/a.py": by_user(9)},
        says="pack/task/a.py -> pack/task/sub/a.py",
    ),
    Situation(
        "the template moves and edits what the user dropped",
        {"code.py": CODE, "other.py": MORE},
        {"code.py": None, "moved.py": by_template(5)},
        {"code.py": None},
        {"code.py": None, "moved.py": None, "other.py": MORE},
        says="not brought back, though the template changed them:\n  moved.py",
    ),
    Situation(
        "both move the same file",
        CODE_PY,
        {"code.py": None, "theirs.py": CODE},
        {"code.py": None, "mine.py": by_user(5)},
        {"mine.py": by_user(5)},
        status=1,
        says="code.py: both moved it",
    ),
    Situation(
        "names that look like something else",
        {"-rf.py": CODE, "*.py": CODE, "c\nd.py": CODE, ":(top)é.py": CODE},
        {
            "-rf.py": by_template(5),
            "*.py": by_template(5),
            "c\nd.py": by_template(5),
            ":(top)é.py": by_template(5),
        },
        {"-rf.py": by_user(9), "*.py": None, "c\nd.py": by_user(5), ":(top)é.py": None},
        {"-rf.py": by_both(5, 9), "*.py": None, ":(top)é.py": None, "c\nd.py": BOTH},
        status=1,
        says="  c?d.py: both changed it",
    ),
    Situation(
        "what git does not track and nothing writes over",
        CODE_PY,
        {"code.py": by_template(5), "conf/new.toml": "new\n"},
        {"draft.txt": "draft\n", "conf/mine.toml": "mine\n"},
        {"code.py": by_template(5), "conf/new.toml": "new\n", "draft.txt": "draft\n"},
        settings={"untracked": "yes"},
    ),
    Situation(
        "what git does not track where the template adds a folder",
        CODE_PY,
        {"conf/new.toml": "new\n"},
        {"conf": "mine\n"},
        {"conf": "mine\n"},
        status=2,
        says="git does not track conf, and the new version would write over that",
        settings={"untracked": "yes"},
    ),
    Situation(
        "what git does not track where the template adds a file",
        CODE_PY,
        {"conf": "new\n"},
        {"conf/deep/mine.toml": "mine\n"},
        {"conf/deep/mine.toml": "mine\n"},
        status=2,
        says="git does not track conf/deep/mine.toml, and the new version would write over that",
        settings={"untracked": "yes"},
    ),
]


@pytest.mark.parametrize("case", SITUATIONS, ids=lambda case: case.name)
def test_nothing_the_user_wrote_is_lost(
    case: Situation, tmp_path: Path, started: Callable[[Files, Path], None]
) -> None:
    started(case.first, tmp_path)
    project = tmp_path / "mine"
    released(tmp_path / "source", case.second, "v2.0.0")
    original = {line for text in contents(project).values() for line in text.splitlines()}
    written(project, case.user)
    if not case.settings:
        committed(project)
    before, kept = state(project), contents(project)
    wrote = {line for text in kept.values() for line in text.splitlines()} - original

    if case.status == 2:
        assert case.says in refused(project, *case.answers)
        return
    status, words = run(project, *case.answers)
    assert status == case.status, words
    assert case.says in words
    assert state(project) == before
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
    if status:
        result = tmp_path / "mine-template-v2.0.0"
        git(result, "rev-parse", "--verify", "template/v2.0.0")
        assert git(result, "diff", "--name-only", "--diff-filter=U")
    else:
        git(project, "merge", "--quiet", "--ff-only", "template/v2.0.0")
        assert git(project, "status", "--porcelain", "--untracked-files=no") == ""
        result = project
    found = contents(result)
    untracked = {name: kept[name] for name in kept if name not in found and result != project}
    lines = {line for text in [*found.values(), *untracked.values()] for line in text.splitlines()}
    assert wrote <= lines
    for name, text in case.after.items():
        if text is None:
            assert name not in found
        elif text is BOTH:
            assert b"<<<<<<< HEAD\n" in found[name] and b">>>>>>> template/v2.0.0\n" in found[name]
            theirs = case.second[name]
            assert isinstance(theirs, str)
            assert set(theirs.encode().splitlines()) <= set(found[name].splitlines())
        else:
            assert found[name] == (text.encode() if isinstance(text, str) else text)


def test_modes_and_links_are_followed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    released(
        source,
        {"run.sh": "#!/bin/sh\n", "a.py": CODE},
        "v1",
        copier_yml="_subdirectory: template\n_preserve_symlinks: true\n",
    )
    project = rendered(source, tmp_path / "mine")
    (source / "template/run.sh").chmod(0o755)
    (source / "template/link.py").symlink_to("a.py")
    released(source, {}, "v2")
    (project / "a.py").chmod(0o755)
    committed(project, {"run.sh": "#!/bin/sh\necho mine\n"})
    assert run(project, merge=True)[0] == 0
    assert (project / "link.py").readlink() == Path("a.py")
    assert (project / "run.sh").read_text() == "#!/bin/sh\necho mine\n"
    for name in ("run.sh", "a.py"):
        assert (project / name).stat().st_mode & stat.S_IXUSR


# What is said


def test_the_changelog_tells_what_is_newer(template: Path, tmp_path: Path) -> None:
    old = "# Changes\n\nAbout.\n\n## 1.0.0\n\n- the first\n"
    git(template, "tag", "--delete", "v1.0.0")
    released(template, {}, "v1.0.0", CHANGELOG_md=old)
    project = rendered(template, tmp_path / "ours")
    news = "## [1.10.0] - 2026-11-20\n\n- Faster, *because* it was slow\n\n## v1.9.0\n\n- nine\n\n"
    released(
        template,
        {"new.py": "x\n"},
        "v1.10.0",
        CHANGELOG_md=old.replace("## 1.0.0", f"{news}## 1.0.0"),
    )
    status, words = run(project)
    assert status == 0
    assert words.startswith(f"ours: v1.0.0 -> v1.10.0, from {template}\n")
    assert "- Faster, *because* it was slow\n" in words and "nine" in words
    assert "first" not in words and "About" not in words
    assert "All of it is one commit on the branch template/v1.10.0.\n" in words
    assert words.endswith("To take it: git merge template/v1.10.0\n")
    assert git(project, "log", "--format=%an %s", "-1", "template/v1.10.0") == (
        "poc2prod Update the template from v1.0.0 to v1.10.0\n"
    )


def test_on_a_terminal_the_changelog_is_drawn(project: Path, template: Path) -> None:
    released(template, {"new.py": "x\n"}, "v1.2.0", CHANGELOG_md="## 1.2.0\n\n- *One* more\n")
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None)
    told = {"to": None, "template": None, "dry_run": True, "test": False, "merge": None}
    assert update(project, console, answers=[], **told) == 0
    assert isinstance(console.file, io.StringIO)
    assert " • One more" in console.file.getvalue()


def test_without_a_changelog_the_commits_tell(project: Path) -> None:
    assert "release v1.1.0" in run(project)[1]


def test_without_tags_versions_are_commits(tmp_path: Path) -> None:
    template = released(tmp_path / "source", CODE_PY, None, CHANGELOG_md="## Unreleased\n\n- one\n")
    project = rendered(template, tmp_path / "ours")
    released(template, {"code.py": by_template(5)}, None, CHANGELOG_md="## Unreleased\n\n- two\n")
    short = git(template, "describe", "--always").strip()
    status, words = run(project)
    assert (status, "two" in words) == (0, True)
    assert words.endswith(f"To take it: git merge template/{short}\n")
    git(project, "merge", "--quiet", f"template/{short}")
    assert yaml.safe_load((project / ANSWERS).read_text())["_commit"] == short
    assert run(project)[1].startswith("Up to date: ")


def test_a_version_may_be_named(project: Path, template: Path) -> None:
    first = git(template, "rev-parse", "v1.0.0").strip()
    released(template, {"code.py": by_template(7)}, "v1.2.0")
    assert "v1.0.0 -> v1.1.0" in run(project, to="v1.1.0", merge=True)[1]
    assert "v1.1.0 -> v1.2.0" in run(project, merge=True)[1]
    assert "v1.2.0 -> v1.0.0" in run(project, to=first, merge=True)[1]
    assert (project / "code.py").read_text() == CODE


def test_what_was_rendered_after_the_last_release_is_up_to_date(
    template: Path, tmp_path: Path
) -> None:
    released(template, {"code.py": by_template(5)}, None)
    copier.run_copy(str(template), tmp_path / "ours", defaults=True, quiet=True, vcs_ref="HEAD")
    git(tmp_path, "init", "--quiet", "ours")
    project = committed(tmp_path / "ours")
    assert "has nothing newer than v1.0.0-1-g" in run(project)[1]


# Answers


def test_an_answer_is_given_anew(template: Path, tmp_path: Path) -> None:
    released(template, {"serve.py": "serve\n", "size.txt.jinja": "{{ size }}\n"}, "v1.1.0")
    project = rendered(template, tmp_path / "ours", target="edge")
    assert not (project / "serve.py").exists()
    committed(project, {"code.py": by_user(5)})
    status, words = run(project, "target=hybrid", "size=7", to="current", merge=True)
    assert status == 0
    assert "ours: v1.1.0 -> v1.1.0" in words
    assert "answered anew: target is 'hybrid', was 'edge'\n" in words
    assert "answered anew: size is 7, was 5\n" in words
    assert (project / "serve.py").is_file()
    assert (project / "size.txt").read_text() == "7\n"
    assert (project / "code.py").read_text() == by_user(5)
    assert run(project, "target=hybrid", to="current")[1].endswith(
        "Nothing changes in the project.\n"
    )
    # With nothing newer, an answer alone is enough.
    assert "answered anew: target is 'edge'" in run(project, "target=edge", merge=True)[1]
    assert not (project / "serve.py").exists()


WRONG_ANSWERS = [
    ("target=clowd", "target: got 'clowd'; one of cloud, edge, hybrid; did you mean 'cloud'?"),
    ("traget=edge", "traget: got 'edge'; no such question; did you mean 'target'?"),
    ("size=big", "size: got 'big'; a whole number, like 5"),
    ("size", "size: write KEY=VALUE, like target=hybrid"),
    ("_commit=v1", "_commit: got 'v1'; no such question"),
    ("locked=x", "locked: got 'x'; worked out from the other answers, so leave it out"),
    ("derived=x", "derived: got 'x'; worked out from the other answers, so leave it out"),
]


@pytest.mark.parametrize(("answer", "words"), WRONG_ANSWERS, ids=lambda text: text[:9])
def test_a_wrong_answer_is_refused(answer: str, words: str, template: Path, project: Path) -> None:
    more = "locked: {type: str, default: a, ask: false}\n"
    more += "derived: {type: str, default: b, when: false}\n"
    released(template, {}, "v1.2.0", copier_yml=COPIER_YML + more)
    assert refused(project, answer).startswith(words)


def test_all_wrong_answers_are_told_at_once(project: Path) -> None:
    told = refused(project, "target=clowd", "size=big", "traget=edge", "package=a", "package=b")
    assert [line.partition(":")[0] for line in told.splitlines()] == [
        "traget",
        "package",
        "target",
        "size",
    ]


def test_an_answer_that_the_new_version_refuses_stops_it(template: Path, tmp_path: Path) -> None:
    project = rendered(template, tmp_path / "a b", size=500, target="cloud")
    strict = COPIER_YML.replace("cloud, edge, hybrid", "edge, hybrid").replace(
        "default: cloud", "default: edge"
    )
    strict = strict.replace(
        "default: 5}", "default: 5, validator: '{% if size > 100 %}100 or less, like 5{% endif %}'}"
    )
    released(template, {}, "v1.1.0", copier_yml=strict)
    before = state(project), traces(project)
    status, words = run(project)
    assert status == 1
    assert "refused by the new version: size, 500 would be 5; 100 or less, like 5\n" in words
    assert (
        "refused by the new version: target, 'cloud' would be 'edge'; one of edge, hybrid" in words
    )
    again = f"poc2prod update '{project}' --answer size=5 --answer target=edge"
    assert words.endswith(f"Stopped. To go on with these, or others: {again}\n")
    assert (state(project), traces(project)) == before
    status, words = run(project, "size=99")
    assert status == 1 and "size" not in words.partition("refused by")[2].partition(";")[0]
    answers = [text for text in shlex.split(again) if "=" in text]
    assert run(project, *answers, merge=True)[0] == 0
    recorded = yaml.safe_load((project / ANSWERS).read_text())
    assert (recorded["size"], recorded["target"]) == (5, "edge")


def test_questions_come_go_and_change_their_names(template: Path, tmp_path: Path) -> None:
    project = rendered(template, tmp_path / "ours", size=7)
    renamed = COPIER_YML.replace(
        "size: {type: int, default: 5}",
        'size_mb: {type: int, default: "{{ size | default(5) }}", help: "How large is it?"}',
    )
    renamed = renamed.replace("target: {", "speed: {type: int, default: 3}\ntarget: {")
    released(template, {"size.txt.jinja": "{{ size_mb }}\n"}, "v1.1.0", copier_yml=renamed)
    status, words = run(project, "speed=4", merge=True)
    assert status == 0
    assert "new question: size_mb is 7, the default. How large is it?\n" in words
    assert "new question: speed is 4, as answered. speed\n" in words
    assert "no longer asked: size, which was 7\n" in words
    assert (project / "size.txt").read_text() == "7\n"


# Where the project is, and where the template is


def test_a_folder_of_a_larger_repository(template: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "all")
    top = committed(tmp_path / "all", {"else/code.py": CODE, "else/x": "x\n"})
    project = rendered(template, top / "deep" / "mine")
    written(project, {"code.py": None})
    committed(project)
    written(top, {"else/x": "dirty\n", "else/new": "new\n"})
    git(top, "add", "else/x")
    written(top, {"else/x": "dirtier\n"})
    released(template, {"code.py": by_template(5), "new.py": "new\n"}, "v2")
    before = state(top)
    status, words = run(project)
    assert status == 0
    assert state(top) == before
    # The same file elsewhere is not where the user moved it.
    assert "not brought back, though the template changed them:\n  code.py\n" in words
    git(project, "merge", "--quiet", "template/v2")
    assert git(top, "show", "HEAD:else/code.py") == CODE
    assert (project / "new.py").is_file()
    assert (top / "else/x").read_text() == "dirtier\n"
    released(template, {"new.py": "newer\n"}, "v3")
    written(project, {"new.py": "mine\n"})
    git(project, "commit", "--quiet", "--message=mine", ".")
    status, words = run(project)
    assert (status, "\n  new.py: both changed it\n" in words) == (1, True)
    assert f"\n  cd {tmp_path}/all-template-v3/deep/mine\n" in words


def test_a_linked_worktree(project: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(project, "worktree", "add", "--quiet", "-b", "other", str(linked))
    committed(linked, {"code.py": by_user(9)})
    before = state(project), state(linked)
    assert run(linked)[0] == 0
    assert (state(project), state(linked)) == before
    git(linked, "merge", "--quiet", "--ff-only", "template/v1.1.0")
    assert "LINE 3" in (linked / "code.py").read_text()
    assert state(project) == before[0]


def bundle(template: Path) -> str:
    path = template.with_name("course.bundle")
    git(template, "bundle", "create", "--quiet", str(path), "--all", "HEAD")
    return str(path)


def address(template: Path) -> str:
    public = template.with_name("public.git")
    shutil.rmtree(public, ignore_errors=True)
    git(template, "clone", "--quiet", "--bare", ".", str(public))
    return f"file://{public}"


@pytest.mark.parametrize("source", [str, bundle, address], ids=["path", "bundle", "address"])
def test_the_template_may_be(source: Callable[[Path], str], template: Path, tmp_path: Path) -> None:
    project = rendered(source(template), tmp_path / "ours")
    released(template, {"code.py": by_template(5)}, "v1.1.0")
    recorded = source(template)
    assert run(project, merge=True)[0] == 0
    assert (project / "code.py").read_text() == by_template(5)
    answers = yaml.safe_load((project / ANSWERS).read_text())
    assert (answers["_commit"], answers["_src_path"]) == ("v1.1.0", recorded)


def test_a_relative_source_is_one_from_the_project(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (project / ANSWERS).read_text().replace(f"{project.parent}/", "../")
    committed(project, {ANSWERS: text})
    monkeypatch.chdir("/")
    assert "from ../source\n" in run(project, merge=True)[1]
    assert yaml.safe_load((project / ANSWERS).read_text())["_src_path"] == "../source"
    assert Path.cwd() == Path("/")


def test_another_source_is_taken_and_recorded(
    template: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.parent)
    offline = bundle(template)
    template.rename(template.with_name("moved away"))
    assert "cannot be read; fatal: " in refused(project)
    assert run(project, template="course.bundle", merge=True)[0] == 0
    answers = yaml.safe_load((project / ANSWERS).read_text())
    assert (answers["_commit"], answers["_src_path"]) == ("v1.1.0", offline)
    assert run(project)[1].startswith("Up to date: ")


# Refusals

ANSWERED = "_commit: v1.0.0\n_src_path: {}\n"
SPOILED: list[tuple[str, Callable[[Path], object], str]] = [
    (
        "no answers",
        lambda p: committed(p, {ANSWERS: None}),
        "mine is no project of a template: it has no .copier-answers.yml; poc2prod adopt",
    ),
    (
        "no version",
        lambda p: committed(p, {ANSWERS: "_src_path: x\n"}),
        "has no _commit, so no update can start from it; write",
    ),
    (
        "no source",
        lambda p: committed(p, {ANSWERS: "_commit: v1\n"}),
        "has no _src_path, so no update can start from it; write",
    ),
    (
        "no YAML",
        lambda p: committed(p, {ANSWERS: "a: [\n"}),
        ".copier-answers.yml, line 2: not YAML",
    ),
    (
        "version gone",
        lambda p: committed(p, {ANSWERS: f"_commit: v9\n_src_path: {p.parent}/source\n"}),
        "source has no v9, which .copier-answers.yml records as the version of the project; name a "
        "source that has it: --template SOURCE",
    ),
    (
        "no option",
        lambda p: committed(p, {ANSWERS: f"_commit: --all\n_src_path: {p.parent}/source\n"}),
        "source has no --all, which",
    ),
    (
        "dirty",
        lambda p: written(p, {"code.py": "mine"}),
        "mine has changes that are not committed; commit them, or git stash",
    ),
    (
        "staged",
        lambda p: (written(p, {"x": ""}), git(p, "add", "x")),
        "mine has changes that are not committed; commit them, or git stash",
    ),
    (
        "untracked answers",
        lambda p: git(p, "rm", "--quiet", "--cached", ANSWERS),
        "mine/.copier-answers.yml is not",
    ),
    (
        "a branch in the way",
        lambda p: git(p, "branch", "template"),
        "'refs/heads/template' exists; cannot create",
    ),
    (
        "on the branch",
        lambda p: git(p, "switch", "--quiet", "--create", "template/v1.1.0"),
        "template/v1.1.0 is checked out in",
    ),
]


@pytest.mark.parametrize(
    ("spoil", "words"), [row[1:] for row in SPOILED], ids=[row[0] for row in SPOILED]
)
def test_it_is_refused(spoil: Callable[[Path], object], words: str, project: Path) -> None:
    spoil(project)
    if "untracked" in words or "is not" in words:
        git(project, "commit", "--quiet", "--message=untracked")
    before = state(project), traces(project)
    with pytest.raises(Refusal) as caught:
        run(project)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (state(project), traces(project)) == before


def test_a_version_that_is_not_there_is_refused(project: Path, template: Path) -> None:
    assert refused(project, to="v1.1") == "../source has no v1.1; did you mean 'v1.1.0'?"
    assert refused(project, to="-x") == "../source has no -x; it has v1.0.0, v1.1.0"
    (template / "copier.yml").unlink()
    released(template, {}, "v2.0.0")
    assert refused(project) == "../source is no template at v2.0.0: it has no copier.yml"


def test_what_is_no_repository_is_refused(project: Path, tmp_path: Path) -> None:
    shutil.rmtree(project / ".git")
    with pytest.raises(Refusal, match="is in no git repository; make one: git init"):
        run(project)
    git(project, "init", "--quiet")
    with pytest.raises(Refusal, match="is not committed; git add --all && git commit"):
        run(project)
    with pytest.raises(Refusal, match=f"did you mean {project}?"):
        run(project / "src")


def test_without_git_it_is_refused(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refusal, match="git is needed to update a project: apt install git"):
        run(project)


def test_a_template_that_cannot_be_rendered_is_refused(template: Path, project: Path) -> None:
    released(template, {"bad.txt.jinja": "{{ gone.gone }}"}, "v1.2.0")
    assert "cannot be rendered; 'gone' is undefined" in refused(project)


def test_no_password_is_told(project: Path) -> None:
    told = refused(project, template="https://ana:secret@localhost:1/template.git")
    assert told.startswith("https://***@localhost:1/template.git cannot be read; fatal: unable to")
    assert "secret" not in told


def test_commits_of_the_user_on_the_branch_are_kept(project: Path) -> None:
    assert run(project)[0] == 0
    assert run(project)[0] == 0  # what it made itself, it makes again
    git(project, "switch", "--quiet", "template/v1.1.0")
    committed(project, {"code.py": "mended\n"})
    git(project, "switch", "--quiet", "-")
    assert refused(project) == (
        "the branch template/v1.1.0 has commits of yours that are not merged; "
        "git merge template/v1.1.0, or throw it away: git branch -D template/v1.1.0"
    )


# Conflicts, checks and the merge


def test_a_conflict_is_finished_with_the_commands_it_tells(project: Path) -> None:
    committed(project, {"code.py": by_user(3), "with space.txt": "mine\n"})
    status, words = run(project, merge=True)
    assert status == 1
    place = project.with_name("mine-template-v1.1.0")
    assert "is in the way" not in words
    assert refused(project).startswith(
        f"{place} waits for you, with the conflicts of an update; fin"
    )
    (place / "code.py").write_text("resolved\n")
    told = [line.strip() for line in words.splitlines() if line.startswith("  ")]
    finish = [line for line in told if line.startswith(("cd", "git"))]
    assert len(finish) == 4
    subprocess.run(["sh", "-ec", "\n".join(finish[:3])], check=True, capture_output=True)
    assert (project / "code.py").read_text() == "resolved\n"
    assert not place.exists()
    assert git(project, "log", "--format=%an %s", "-1") == "Test Update the template to v1.1.0\n"
    assert run(project)[1].startswith("Up to date: ")


def test_a_conflict_is_thrown_away_with_the_command_it_tells(project: Path) -> None:
    committed(project, {"code.py": by_user(3)})
    before = state(project), traces(project)
    words = run(project)[1]
    away = words.splitlines()[-1].strip()
    assert away.startswith("git worktree remove --force ")
    subprocess.run(["sh", "-ec", away], check=True, capture_output=True, cwd=project)
    assert (state(project), traces(project)) == before
    run(project)
    shutil.rmtree(project.with_name("mine-template-v1.1.0"))  # also throws it away
    assert run(project)[0] == 1


def test_a_folder_in_the_way_of_the_worktree_is_refused(project: Path) -> None:
    committed(project, {"code.py": by_user(3)})
    place = project.with_name("mine-template-v1.1.0")
    written(place, {"mine": "mine\n"})
    before = state(project), traces(project)
    with pytest.raises(Refusal, match=f"{place} is in the way of the worktree for the conflicts"):
        run(project)
    assert (state(project), traces(project)) == before


def test_a_worktree_that_cannot_be_finished_goes_away(project: Path) -> None:
    committed(project, {"code.py": by_user(3)})
    git(project, "branch", "template")
    assert "'refs/heads/template' exists; cannot create" in refused(project)


def test_what_came_in_between_is_not_written_over(template: Path, project: Path) -> None:
    released(template, {"data.csv": "theirs\n"}, "v1.2.0")
    meanwhile = f"test:\n\techo mine > {project}/data.csv\n"
    committed(project, {".gitignore": "data.csv\n", "Makefile": meanwhile})
    head = git(project, "rev-parse", "HEAD")
    with pytest.raises(Refusal, match="v1.2.0 is not merged; error: .* would be overwr"):
        run(project, test=True, merge=True)
    assert (project / "data.csv").read_text() == "mine\n"
    assert git(project, "rev-parse", "HEAD") == head


def test_merge_fast_forwards(project: Path) -> None:
    committed(project, {"code.py": by_user(9)})
    head = git(project, "rev-parse", "HEAD")
    status, words = run(project, merge=True)
    assert status == 0
    assert words.endswith("template/v1.1.0 is merged.\n")
    assert run(project) == (0, "Up to date: ../source has nothing newer than v1.1.0.\n")
    assert git(project, "rev-parse", "HEAD^") == head
    assert git(project, "status", "--porcelain") == ""
    assert "LINE 3" in (project / "code.py").read_text()


@pytest.mark.parametrize(("typed", "merged"), [("y\n", True), ("n\n", False), ("", False)])
def test_on_a_terminal_it_asks(
    typed: str, merged: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    told: dict[str, Any] = {"to": None, "answers": [], "template": None, "dry_run": False}
    assert update(project, console, **told, test=False, merge=None) == 0
    assert ("LINE 3" in (project / "code.py").read_text()) == merged


MAKEFILE = "all:\nlint test: all\n\t@echo looked at $$(cat code.py | wc -l) lines\n"


@pytest.mark.parametrize("passes", [True, False])
def test_the_checks_of_the_project_run_on_the_result(
    passes: bool, project: Path, template: Path
) -> None:
    written(
        project, {"Makefile": MAKEFILE + "\t@git log --oneline | wc -l; exit 7\n" * (not passes)}
    )
    committed(project)
    before = state(project)
    status, words = run(project, test=True, merge=True)
    if passes:
        assert (status, "make test passes there.\n" in words) == (0, True)
        assert "LINE 3" in (project / "code.py").read_text()
    else:
        assert status == 1
        commits = git(project, "rev-list", "--count", "template/v1.1.0")
        assert f"looked at 20 lines\n{commits}" in words
        assert words.endswith("Nothing is merged. To mend it: git switch template/v1.1.0\n")
        assert state(project) == before
        git(project, "rev-parse", "--verify", "template/v1.1.0")
        assert run(project, test=False)[0] == 0
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


def test_the_checks_run_in_an_environment_of_their_own(project: Path) -> None:
    rules = "setup:\n\ttouch ready\ntest:\n\ttest -f ready && echo serve.py:100: found; exit 3\n"
    committed(project, {"Makefile": rules})
    status, words = run(project, test=True)
    assert status == 1 and not (project / "ready").exists()
    assert "serve.py:100: found\n" in words and "make test fails there" in words
    committed(project, {"Makefile": rules.replace("touch ready", "exit 4")})
    assert "make setup fails there, with exit status 2.\n" in run(project, test=True)[1]


def test_a_makefile_without_tests_is_no_failure(project: Path) -> None:
    committed(project, {"Makefile": "latest: x\n\techo\ntest := 1\n.PHONY: test\n"})
    status, words = run(project, test=True)
    assert (status, "make" in words) == (0, False)


@pytest.mark.parametrize("number", [3, 9], ids=["conflict", "no conflict"])
def test_a_dry_run_leaves_nothing(number: int, project: Path) -> None:
    committed(project, {"code.py": by_user(number)})
    before = state(project), traces(project), git(project, "count-objects")
    status, words = run(project, dry_run=True, merge=True, test=True)
    assert (status, "v1.0.0 -> v1.1.0" in words) == (int(number == 3), True)
    assert ("code.py: both changed it" in words) == (number == 3)
    assert (state(project), traces(project), git(project, "count-objects")) == before


# What is around it


def test_nothing_of_the_caller_or_of_the_users_git_matters(
    project: Path, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(
        project, {"code.py": by_user(3), ".gitattributes": "*.py merge=mine\n*.md merge=union"}
    )
    # A release whose README is not the user's any more, and CRLF in the user's.
    hook = project / ".git/hooks/all"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\ntouch HOOKED\nexit 1\n")
    hook.chmod(0o755)
    names = ("post-checkout", "pre-commit", "reference-transaction", "post-index-change")
    for name in names:
        (hook.parent / name).symlink_to("all")
    settings = {
        "merge.mine.driver": "true",
        "merge.default": "union",
        "merge.renames": "false",
        "merge.conflictStyle": "diff3",
        "rerere.enabled": "true",
        "core.autocrlf": "true",
        "core.attributesFile": str(tmp_path / "attributes"),
        "commit.gpgSign": "true",
        "user.useConfigOnly": "true",
        "diff.renames": "false",
        "diff.noprefix": "true",
        "color.ui": "always",
        "log.showSignature": "true",
        "column.ui": "always",
        "clone.defaultRemoteName": "upstream",
        "init.templateDir": str(hook.parent.parent),
    }
    (tmp_path / "attributes").write_text("* merge=union\n")
    written(project, {".git/info/attributes": "*.py merge=union\n"})
    for name, value in settings.items():
        git(tmp_path, "config", "--file", ".gitconfig", name, value)
        git(project, "config", name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL")
    before = state(project)
    elsewhere = tmp_path / "elsewhere"
    git(tmp_path, "init", "--quiet", "--template=", "elsewhere")
    with monkeypatch.context() as outer:
        for name in ("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "PREFIX"):
            outer.setenv(f"GIT_{name}", str(elsewhere / ".git" / name.lower()))
        status, words = run(project)
        assert os.environ["GIT_DIR"] == str(elsewhere / ".git/dir")
    assert (status, "code.py: both changed it" in words) == (1, True)
    conflict = (tmp_path / "mine-template-v1.1.0/code.py").read_text()
    assert (
        "<<<<<<< HEAD\nline 3 by the user\n=======\nLINE 3 of the code\n>>>>>>> template"
        in conflict
    )
    assert state(project) == before
    assert list(tmp_path.rglob("HOOKED")) == []
    assert {path.name for path in (elsewhere / ".git").iterdir()} <= {
        "HEAD",
        "config",
        "objects",
        "refs",
    }


def test_where_it_was_rendered_is_no_change(tmp_path: Path) -> None:
    where = {"where.txt.jinja": "{{ _copier_conf.dst_path }} {{ _folder_name }}\n"}
    template = released(tmp_path / "source", {**where}, "v1")
    project = rendered(template, tmp_path / "ours")
    released(template, {"new.py": "x\n"}, "v2")
    assert run(project, merge=True)[0] == 0
    assert (project / "where.txt").read_text() == f"{project} ours\n"


def test_line_ends_that_attributes_ask_for_are_no_change(tmp_path: Path) -> None:
    first: Files = {".gitattributes": "* text=auto\n*.bat eol=crlf\n", "a.bat": "a\r\nb\r\nc\r\n"}
    template = released(tmp_path / "source", first, "v1")
    project = rendered(template, tmp_path / "ours")
    committed(project, {"a.bat": "mine\r\nb\r\nc\r\n"})
    released(template, {"a.bat": "a\r\nb\r\nC\r\n"}, "v2")
    assert run(project, merge=True)[0] == 0
    assert (project / "a.bat").read_bytes() == b"mine\r\nb\r\nC\r\n"
    assert git(project, "status", "--porcelain") == ""
    released(template, {"a.bat": "A\r\nb\r\nC\r\n"}, "v3")
    assert run(project)[0] == 1
    conflict = (tmp_path / "ours-template-v3" / "a.bat").read_bytes()
    assert conflict.count(b"\r\n") == conflict.count(b"\n") == 7


# Being killed

SHIM = """\
#!/bin/sh
read -r count < {counter}
echo $((count + 1)) > {counter}
if [ "$count" -eq "${{KILL_AT:-0}}" ]; then kill -9 "$KILL_WHAT"; fi
exec {git} "$@"
"""


def killed(project: Path, shim: Path, at: int, everything: bool, after_s: float = 0) -> bool:
    """Update in a process that is killed, at a git command or after a while, unless it is done."""

    def child() -> None:
        os.setsid()
        os.environ["PATH"] = f"{shim}{os.pathsep}{os.environ['PATH']}"
        os.environ["KILL_AT"] = str(at)
        os.environ["KILL_WHAT"] = str(-os.getpid() if everything else os.getpid())
        run(project)

    process = get_context("fork").Process(target=child)
    process.start()
    if after_s:
        time.sleep(after_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    with contextlib.suppress(ProcessLookupError):  # what git had begun comes to its end
        while True:
            os.killpg(process.pid or 0, 0)
            time.sleep(0.01)
    return process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("number", [9, 3], ids=["no conflict", "conflict"])
def test_killed_at_any_moment_it_leaves_everything_as_it_was(
    number: int, project: Path, tmp_path: Path
) -> None:
    committed(project, {".gitignore": "data/\n", "code.py": by_user(number)})
    written(project, {"data/labels.csv": "years of work\n"})
    before, place = state(project), tmp_path / "mine-template-v1.1.0"
    counter, shim = tmp_path / "counter", tmp_path / "shim"
    written(shim, {"git": SHIM.format(counter=counter, git=shutil.which("git"))})
    (shim / "git").chmod(0o755)
    counter.write_text("1\n")
    assert not killed(project, shim, 0, False)
    clear(project, place)
    commands = int(counter.read_text()) - 1
    chance = random.Random(number)
    # The last commands are those that write to the user's repository.
    moments = [(commands - back, back % 2 == 1, 0.0) for back in range(4 if number == 3 else 1)]
    moments += [(chance.randrange(1, commands), True, 0.0)]
    moments += [(0, True, chance.uniform(0.1, 0.4))] * (number == 9)
    for at, everything, after_s in moments:
        counter.write_text("1\n")
        if not killed(project, shim, at, everything, after_s):
            clear(project, place)
        assert state(project) == before
        if at == commands and number == 3:  # git went on, and had only to say that it was done
            clear(project, place)
        status, words = run(project)
        assert status == int(number == 3), words
        assert state(project) == before
        tip = git(project, "rev-parse", "template/v1.1.0^{tree}")
        result = (
            (place / "code.py").read_text()
            if status
            else git(project, "show", f"{tip.strip()}:code.py")
        )
        assert "LINE 3" in result and f"line {number} by the user" in result
        clear(project, place)
    git(project, "fsck", "--strict")


def clear(project: Path, place: Path) -> None:
    if place.exists():
        git(project, "worktree", "remove", "--force", str(place))
    git(project, "branch", "-D", "template/v1.1.0")


# The real template


def test_the_real_template(tmp_path: Path) -> None:
    source = release(tmp_path / "source")
    shutil.copy(Path(__file__).parents[2] / "CHANGELOG.md", source)
    git(tmp_path, "init", "--quiet", "source")
    released(source, {}, "v0.1.0")
    project = rendered(source, tmp_path / "mine", target="edge", modality="tabular")
    text = {name: (project / name).read_text() for name in ("scope.yaml", "README.md")}
    model = "src/scratch_detector/task/model.py"
    mine: Files = {
        "scope.yaml": text["scope.yaml"].replace("confidence: 0.95 #", "confidence: 0.99 #"),
        "README.md": "# Ours\n",
        model: "# ours\n" + (project / model).read_text(),
    }
    committed(project, mine)
    scope, ci = source / "template/scope.yaml.jinja", source / "template/.github/workflows/ci.yml"
    scope.write_text(scope.read_text().replace("max_leaks: 0 #", "max_leaks: 1 #"))
    ci.write_text(ci.read_text().replace("timeout-minutes: 30", "timeout-minutes: 45"))
    readme = source / "template/README.md.jinja"
    readme.write_text("New words.\n" + readme.read_text())
    changes = (source / "CHANGELOG.md").read_text()
    news = "\n## 0.2.0\n\n- One leak is allowed, because nobody is perfect.\n\n## "
    written(source, {"CHANGELOG.md": changes.replace("\n## ", news, 1)})
    released(source, {}, "v0.2.0")
    before = state(project)
    status, words = run(project)
    assert status == 0, words
    assert state(project) == before
    assert "nobody is perfect" in words and "First light" not in words
    assert "Yours, so kept, though the template changed them:\n  README.md\n" in words
    assert "3 files changed" in words
    git(project, "merge", "--quiet", "--ff-only", "template/v0.2.0")
    scope_now = (project / "scope.yaml").read_text()
    assert "confidence: 0.99 #" in scope_now and "max_leaks: 1 #" in scope_now
    assert "timeout-minutes: 45" in (project / ".github/workflows/ci.yml").read_text()
    assert (project / "README.md").read_text() == "# Ours\n"
    status, words = run(project, "target=hybrid", "max_cost_usd_month=30", merge=True)
    assert status == 0, words
    assert (project / "src/scratch_detector/serving/app.py").is_file()
    assert (project / model).read_text().startswith("# ours\n")
    assert "confidence: 0.99 #" in (project / "scope.yaml").read_text()
    fresh = rendered(source, tmp_path / "fresh", **yaml.safe_load((project / ANSWERS).read_text()))
    different = {
        name
        for name in contents(project) | contents(fresh)
        if contents(project).get(name) != contents(fresh).get(name)
    }
    assert different == {"scope.yaml", "README.md", "docs/decisions/0001-scope.md", model}
    assert "package_name: got 'x'; worked out" in refused(project, "package_name=x")
