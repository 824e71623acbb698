"""`poc2prod adopt`: real repositories, a small template, and nothing of the user's is touched."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from threading import Thread

import copier
import pytest
import yaml
from rich.console import Console

from environment import release
from poc2prod.adopt import ANSWERS, BRANCH, adopt
from poc2prod.output import plain
from poc2prod.refusal import Refusal
from repository import committed, git, written

TEMPLATE = {
    "copier.yml": """
project_name: {type: str, default: demo, validator: "{% if project_name == 'bad' %}x{% endif %}"}
package_name: {type: str, ask: false, default: "{{= project_name }}"}
_subdirectory: template
_skip_if_exists: [README.md]
_envops: {variable_start_string: "{{=", variable_end_string: "}}", keep_trailing_newline: true}
_templates_suffix: .jinja
""",
    "template/{{= _copier_conf.answers_file }}.jinja": "{{= _copier_answers | to_nice_yaml -}}",
    "template/README.md.jinja": "# {{= project_name }}\n",
    "template/Makefile": "all:\n\ttrue\n\n# one\n# two\n# three\n",
    "template/docs/guide.md": "guide\n",
    "template/docs/more/deep.md": "deep\n",
    "template/pyproject.toml": "[project]\n",
    "template/run.sh": "#!/bin/sh\n",
    "template/src/{{= package_name }}/train.py": "RATE = 1\n",
}
RENDERED = 8  # files, with the answers


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    (folder / "template").mkdir()
    (folder / "template/run.sh").touch(0o755)
    return committed(folder, TEMPLATE, "v1.0.0")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a repository, and a folder for temporary files that ends up empty."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "repo").mkdir()
    return tmp_path / "repo"


def state(repo: Path) -> dict[str, bytes | str]:
    """Everything a user has: files, index, branches, where HEAD is. Objects do not count."""
    found: dict[str, bytes | str] = {"refs": "", "HEAD": (repo / ".git/HEAD").read_text()}
    for path in repo.rglob("*"):
        if not path.is_relative_to(repo / ".git"):
            link = path.is_symlink() or not path.is_file()
            found[str(path)] = str(path.lstat().st_mode) if link else path.read_bytes()
    index = repo / ".git/index"
    found["index"] = index.read_bytes() if index.exists() else b""
    found["refs"] = git(repo, "for-each-ref")
    found["config"] = (repo / ".git/config").read_text()
    return found


def adopted(repo: Path, template: Path) -> str:
    """Adopt, see that only the branch is new, and return what was printed."""
    before = state(repo)
    console = Console(file=StringIO(), width=20)
    assert adopt(repo, None, str(template), console) == 0
    after = state(repo)
    branch = git(repo, "for-each-ref", f"refs/heads/{BRANCH}")
    assert branch and str(after["refs"]).replace(branch, "") == before["refs"]
    assert after | {"refs": ""} == before | {"refs": ""}
    assert list((repo.parent / "tmp").iterdir()) == []
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def collisions(said: str) -> dict[str, str]:
    return dict(re.findall(r"^  ([^:\s]+): (.*)$", said, re.MULTILINE))


def branch(repo: Path) -> set[str]:
    return set(git(repo, "ls-tree", "-r", "-z", "--name-only", BRANCH).split("\0")[:-1])


def refusal(repo: Path, template: Path, answers: Path | None = None) -> str:
    before = state(repo) if (repo / ".git").is_dir() else None
    with pytest.raises(Refusal) as refused:
        adopt(repo, answers, str(template), Console(file=StringIO()))
    assert (state(repo) if before else None) == before
    assert list(Path(os.environ["TMPDIR"]).iterdir()) == []
    assert len(refused.value.problems) == 1
    return str(refused.value)


# What comes of it


@pytest.mark.parametrize("unborn", [True, False])
def test_a_repository_with_next_to_nothing_in_it_gets_everything(
    unborn: bool, repo: Path, template: Path
) -> None:
    git(repo, "init", "--quiet", "--initial-branch=main")
    if not unborn:
        committed(repo, {"notes.txt": "mine\n"})
    said = adopted(repo, template)
    assert f"branch {BRANCH}: {RENDERED}; take them: git merge {BRANCH}\n" in said
    assert collisions(said) == {}
    git(repo, "merge", "--quiet", BRANCH)
    recorded = yaml.safe_load((repo / ANSWERS).read_text())
    assert (recorded["_commit"], recorded["_src_path"]) == ("v1.0.0", str(template))
    assert (repo / "run.sh").stat().st_mode & 0o100
    assert not (repo / "Makefile").stat().st_mode & 0o100
    assert git(repo, "log", "-1", "--format=%s") == f"Adopt {template} v1.0.0\n"
    assert git(repo, "rev-list", "--count", "HEAD") == ("1\n" if unborn else "2\n")
    assert git(repo, "status", "--porcelain") == ""


Plant = Callable[[Path], object]
OTHER, IGNORED, UNTRACKED = "yours is another", "ignored by git here", "yours, untracked"
DOCS = ("docs/guide.md", "docs/more/deep.md")


def linked(repo: Path) -> None:
    (repo.parent / "elsewhere").mkdir()
    committed(repo, {"notes.txt": "mine"})
    (repo / "docs").symlink_to("../elsewhere")


def submodule(repo: Path) -> None:
    committed(repo, {})
    head = git(repo, "rev-parse", "HEAD").strip()
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{head},docs")
    git(repo, "commit", "--quiet", "--message=sub")
    (repo / "docs").mkdir()


def tracked(*names: str) -> Plant:
    return lambda repo: committed(repo, dict.fromkeys(names, "mine"))


def untracked(*names: str) -> Plant:
    def act(repo: Path) -> None:
        committed(repo, {})
        for name in names:
            (repo / name).parent.mkdir(exist_ok=True)
            (repo / name).write_text("mine")

    return act


def ignored(repo: Path) -> None:
    committed(repo, {".gitignore": "docs/\n*.sh\n.copier*\n", "README.md": "mine"})
    (repo / "run.sh").write_text("mine")
    (repo / "Makefile").mkdir()


def inside(repo: Path) -> None:
    tracked("src")(repo)
    git(repo, "init", "--quiet", "docs")


PLANTED: dict[str, tuple[Plant, dict[str, str]]] = {
    "other files": (
        tracked("README.md", "pyproject.toml", "src/demo/train.py"),
        dict.fromkeys(["README.md", "pyproject.toml", "src/demo/train.py"], OTHER),
    ),
    "ignored": (
        ignored,
        dict.fromkeys(DOCS, IGNORED)
        | {"run.sh": UNTRACKED, "README.md": OTHER, "Makefile": "yours is a folder"},
    ),
    "untracked": (
        untracked("Makefile", "src/demo"),
        {"Makefile": UNTRACKED, "src/demo/train.py": "src/demo is no folder here"},
    ),
    "file for folder, folder for file": (
        tracked("docs/more", "Makefile/x"),
        {DOCS[1]: "docs/more is no folder here", "Makefile": "yours is a folder"},
    ),
    "case": (
        tracked("makefile", "Docs/x.md"),
        {"Makefile": "makefile is the same name where case does not count"}
        | dict.fromkeys(DOCS, "Docs is the same name where case does not count"),
    ),
    "untracked case": (
        untracked("RUN.sh"),
        {"run.sh": "RUN.sh is the same name where case does not count"},
    ),
    "link": (linked, dict.fromkeys(DOCS, "docs is no folder here")),
    "submodule": (submodule, dict.fromkeys(DOCS, "docs is no folder here")),
    "repository inside": (
        inside,
        dict.fromkeys(DOCS, "docs is no folder here")
        | {"src/demo/train.py": "src is no folder here"},
    ),
}


@pytest.mark.parametrize("plant", PLANTED)
def test_what_collides_is_listed_and_left_alone(plant: str, repo: Path, template: Path) -> None:
    act, expected = PLANTED[plant]
    act(repo)
    theirs = git(repo, "ls-tree", "-r", "HEAD").splitlines()
    said = adopted(repo, template)
    assert collisions(said) == expected
    assert f"collide with what is there: {len(expected)}\n" in said
    merged = git(repo, "ls-tree", "-r", BRANCH).splitlines()
    assert set(theirs) <= set(merged) and len(merged) == len(theirs) + RENDERED - len(expected)
    before = state(repo)
    git(repo, "merge", "--quiet", BRANCH)
    after = state(repo)
    files = [name for name in before if name.startswith("/")]
    assert [after[name] for name in files] == [before[name] for name in files]


def test_bytes_are_the_templates_whatever_git_would_do_to_them(repo: Path, template: Path) -> None:
    committed(repo, {"Makefile": TEMPLATE["template/Makefile"]})
    committed(repo, {".gitattributes": "*.md text eol=crlf filter=shout\n"})
    git(repo, "config", "filter.shout.clean", "tr a-z A-Z")
    said = adopted(repo, template)
    assert "There already, byte for byte: 1\n" in said and collisions(said) == {}
    assert git(repo, "show", f"{BRANCH}:docs/guide.md") == "guide\n"


def test_neither_passwords_nor_strange_names_are_printed() -> None:
    assert plain("file://ana:secret@host/a\x1b[2J") == "file://***@host/a?[2J"


def test_the_printed_commands_show_the_templates_version(repo: Path, template: Path) -> None:
    committed(repo, {"README.md": "mine\n"})
    said = adopted(repo, template)
    git(repo, "merge", "--quiet", BRANCH)
    copy, compare = (line.strip() for line in said.splitlines()[-2:])
    with_ours = [sys.executable, "-m", "copier", *shlex.split(copy)[2:]]
    subprocess.run(with_ours, cwd=repo, check=True)
    shown = subprocess.run(shlex.split(compare), cwd=repo, capture_output=True, text=True)
    assert "-mine\n" in shown.stdout and "+# demo\n" in shown.stdout
    assert git(repo, "status", "--porcelain") == ""


def test_a_later_version_applies_to_what_was_adopted(
    repo: Path, template: Path, tmp_path: Path
) -> None:
    source = tmp_path / "template"
    shutil.copytree(template, source)
    committed(repo, {"README.md": "mine\n", "src/demo/train.py": "MINE = 1\n"})
    adopted(repo, source)
    git(repo, "merge", "--quiet", BRANCH)
    later = {"Makefile": TEMPLATE["template/Makefile"].replace("true", "false"), "new.txt": "new\n"}
    committed(source, {f"template/{name}": text for name, text in later.items()}, "v1.1.0")
    committed(repo, {"Makefile": TEMPLATE["template/Makefile"] + "# mine\n"})
    copier.run_update(repo, defaults=True, overwrite=True, quiet=True)
    assert (repo / "Makefile").read_text() == later["Makefile"] + "# mine\n"
    assert (repo / "new.txt").read_text() == "new\n"
    assert (repo / "README.md").read_text() == "mine\n"
    assert (repo / "src/demo/train.py").read_text() == "MINE = 1\n"
    assert yaml.safe_load((repo / ANSWERS).read_text())["_commit"] == "v1.1.0"


def test_the_real_template_comes_to_a_repository_of_notebooks(repo: Path, tmp_path: Path) -> None:
    source = committed(release(tmp_path / "source"), {}, "v1.0.0")
    mine = {"README.md": "mine\n", "pyproject.toml": "[project]\n", "data/raw.csv": "1\n"}
    committed(repo, mine | {".gitignore": ".env\n", "notebooks/first.ipynb": "{}"})
    said = adopted(repo, source)
    assert set(collisions(said)) == {".gitignore", "README.md", "pyproject.toml"}
    git(repo, "merge", "--quiet", BRANCH)
    assert (repo / "src/scratch_detector/task/model.py").is_file()
    assert git(repo, "status", "--porcelain") == ""


# What is refused, and what becomes of an interrupt


def test_what_cannot_be_adopted_is_refused(
    repo: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "is no git repository" in refusal(repo, template)
    assert "is no git repository" in refusal(repo / "gone", template)
    committed(repo, {"a.txt": "a", "sub/b.txt": "b"})
    assert f"is only a part of the repository {repo}" in refusal(repo / "sub", template)
    (repo / "a.txt").write_text("changed")
    assert "changes that are not committed" in refusal(repo, template)
    git(repo, "add", "--all")
    assert "changes that are not committed" in refusal(repo, template)
    git(repo, "reset", "--quiet", "--hard")
    git(repo, "branch", "poc2prod")
    assert "poc2prod" in refusal(repo, template)  # a branch that leaves no room for ours
    git(repo, "branch", "-D", "poc2prod")
    git(repo, "branch", BRANCH)
    assert f"git branch -D {BRANCH}" in refusal(repo, template)
    git(repo, "branch", "-D", BRANCH)
    (repo / ANSWERS).touch()
    assert "poc2prod update" in refusal(repo, template)
    (repo / ANSWERS).unlink()
    monkeypatch.setenv("PATH", str(repo))
    with pytest.raises(Refusal, match="git is needed"):
        adopt(repo, None, str(template), Console(file=StringIO()))


def test_answers_and_templates_are_refused_as_by_new(
    repo: Path, template: Path, tmp_path: Path
) -> None:
    committed(repo, {})
    bad = written(tmp_path, {"bad.yml": "project_name: bad\n"}) / "bad.yml"
    assert "project_name" in refusal(repo, template, bad)
    assert "is no template" in refusal(repo, tmp_path / "gone")
    plain = tmp_path / "plain"
    shutil.copytree(template, plain, ignore=shutil.ignore_patterns(".git"))
    assert "records no version" in refusal(repo, plain)
    (plain / "template/{{= _copier_conf.answers_file }}.jinja").unlink()
    committed(plain, {}, "v1.0.0")
    assert "records no version" in refusal(repo, plain)


def test_what_changes_while_answers_are_read_counts(repo: Path, template: Path) -> None:
    committed(repo, {"a.txt": "a"})
    answers = repo.parent / "answers"
    os.mkfifo(answers)

    def answer() -> None:
        with answers.open("w") as pipe:  # opens when the other end is read
            (repo / "a.txt").write_text("changed")
            pipe.write("{}")

    Thread(target=answer, daemon=True).start()
    with pytest.raises(Refusal, match="not committed"):
        adopt(repo, answers, str(template), Console(file=StringIO()))
    assert git(repo, "branch", "--list", BRANCH) == ""


def test_killed_at_the_last_moment_the_repository_is_as_it_was(
    repo: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(repo, {"README.md": "mine"})
    before, real, tools = state(repo), shutil.which("git"), repo.parent / "tools"
    tools.mkdir()
    (tools / "git").write_text(
        f'#!/bin/sh\ncase "$*" in *update-ref*) kill -9 $PPID; exit 1;; esac\nexec {real} "$@"\n'
    )
    (tools / "git").chmod(0o755)
    code = (
        "import sys; from pathlib import Path; from rich.console import Console\n"
        "from poc2prod.adopt import adopt\n"
        "adopt(Path(sys.argv[1]), None, sys.argv[2], Console())"
    )
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    killed = subprocess.run([sys.executable, "-c", code, repo, template], capture_output=True)
    assert killed.returncode == -9, killed.stderr
    monkeypatch.undo()
    assert state(repo) == before
