"""`poc2prod adopt`: real repositories and a small template; files of the user do not change."""

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
from repository import commit_files, git, write_files

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
    return commit_files(folder, TEMPLATE, "v1.0.0")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a repository, and a folder for temporary files."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "repo").mkdir()
    return tmp_path / "repo"


def state(repo: Path) -> dict[str, bytes | str]:
    """Return files, index, branches and HEAD of a repository, without its objects."""
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


def run_adopt(repo: Path, template: Path) -> str:
    """Adopt, check that only the branch is new, and return the output."""
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


def collisions(output: str) -> dict[str, str]:
    return dict(re.findall(r"^  ([^:\s]+): (.*)$", output, re.MULTILINE))


def branch(repo: Path) -> set[str]:
    return set(git(repo, "ls-tree", "-r", "-z", "--name-only", BRANCH).split("\0")[:-1])


def refusal(repo: Path, template: Path, answers: Path | None = None) -> str:
    before = state(repo) if (repo / ".git").is_dir() else None
    with pytest.raises(Refusal) as caught:
        adopt(repo, answers, str(template), Console(file=StringIO()))
    assert (state(repo) if before else None) == before
    assert list(Path(os.environ["TMPDIR"]).iterdir()) == []
    assert len(caught.value.problems) == 1
    return str(caught.value)


# Results


@pytest.mark.parametrize("unborn", [True, False])
def test_an_almost_empty_repository_gets_all_files(
    unborn: bool, repo: Path, template: Path
) -> None:
    git(repo, "init", "--quiet", "--initial-branch=main")
    if not unborn:
        commit_files(repo, {"notes.txt": "mine\n"})
    output = run_adopt(repo, template)
    assert f"branch {BRANCH}: {RENDERED}. To merge: git merge {BRANCH}\n" in output
    assert collisions(output) == {}
    git(repo, "merge", "--quiet", BRANCH)
    recorded = yaml.safe_load((repo / ANSWERS).read_text())
    assert (recorded["_commit"], recorded["_src_path"]) == ("v1.0.0", str(template))
    assert (repo / "run.sh").stat().st_mode & 0o100
    assert not (repo / "Makefile").stat().st_mode & 0o100
    assert git(repo, "log", "-1", "--format=%s") == f"Adopt {template} v1.0.0\n"
    assert git(repo, "rev-list", "--count", "HEAD") == ("1\n" if unborn else "2\n")
    assert git(repo, "status", "--porcelain") == ""


Plant = Callable[[Path], object]
OTHER, IGNORED, UNTRACKED = "your file differs", "ignored by git", "your file is untracked"
DOCS = ("docs/guide.md", "docs/more/deep.md")


def linked(repo: Path) -> None:
    (repo.parent / "elsewhere").mkdir()
    commit_files(repo, {"notes.txt": "mine"})
    (repo / "docs").symlink_to("../elsewhere")


def submodule(repo: Path) -> None:
    commit_files(repo, {})
    head = git(repo, "rev-parse", "HEAD").strip()
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{head},docs")
    git(repo, "commit", "--quiet", "--message=sub")
    (repo / "docs").mkdir()


def tracked(*names: str) -> Plant:
    return lambda repo: commit_files(repo, dict.fromkeys(names, "mine"))


def untracked(*names: str) -> Plant:
    def act(repo: Path) -> None:
        commit_files(repo, {})
        for name in names:
            (repo / name).parent.mkdir(exist_ok=True)
            (repo / name).write_text("mine")

    return act


def ignored(repo: Path) -> None:
    commit_files(repo, {".gitignore": "docs/\n*.sh\n.copier*\n", "README.md": "mine"})
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
        | {"run.sh": UNTRACKED, "README.md": OTHER, "Makefile": "you have a folder"},
    ),
    "untracked": (
        untracked("Makefile", "src/demo"),
        {"Makefile": UNTRACKED, "src/demo/train.py": "src/demo is not a folder"},
    ),
    "file for folder, folder for file": (
        tracked("docs/more", "Makefile/x"),
        {DOCS[1]: "docs/more is not a folder", "Makefile": "you have a folder"},
    ),
    "case": (
        tracked("makefile", "Docs/x.md"),
        {"Makefile": "makefile has the same name on case-insensitive file systems"}
        | dict.fromkeys(DOCS, "Docs has the same name on case-insensitive file systems"),
    ),
    "untracked case": (
        untracked("RUN.sh"),
        {"run.sh": "RUN.sh has the same name on case-insensitive file systems"},
    ),
    "link": (linked, dict.fromkeys(DOCS, "docs is not a folder")),
    "submodule": (submodule, dict.fromkeys(DOCS, "docs is not a folder")),
    "repository inside": (
        inside,
        dict.fromkeys(DOCS, "docs is not a folder") | {"src/demo/train.py": "src is not a folder"},
    ),
}


@pytest.mark.parametrize("plant", PLANTED)
def test_collisions_are_listed_and_skipped(plant: str, repo: Path, template: Path) -> None:
    act, expected = PLANTED[plant]
    act(repo)
    theirs = git(repo, "ls-tree", "-r", "HEAD").splitlines()
    output = run_adopt(repo, template)
    assert collisions(output) == expected
    assert f"Skipped, because you have other files there: {len(expected)}\n" in output
    merged = git(repo, "ls-tree", "-r", BRANCH).splitlines()
    assert set(theirs) <= set(merged) and len(merged) == len(theirs) + RENDERED - len(expected)
    before = state(repo)
    git(repo, "merge", "--quiet", BRANCH)
    after = state(repo)
    files = [name for name in before if name.startswith("/")]
    assert [after[name] for name in files] == [before[name] for name in files]


def test_git_filters_are_not_applied(repo: Path, template: Path) -> None:
    commit_files(repo, {"Makefile": TEMPLATE["template/Makefile"]})
    commit_files(repo, {".gitattributes": "*.md text eol=crlf filter=shout\n"})
    git(repo, "config", "filter.shout.clean", "tr a-z A-Z")
    output = run_adopt(repo, template)
    assert "Identical files: 1\n" in output and collisions(output) == {}
    assert git(repo, "show", f"{BRANCH}:docs/guide.md") == "guide\n"


def test_passwords_and_control_characters_are_not_printed() -> None:
    assert plain("file://ana:secret@host/a\x1b[2J") == "file://***@host/a?[2J"


@pytest.mark.parametrize("has_uvx", [True, False])
def test_the_printed_commands_show_the_file_of_the_template(
    has_uvx: bool, repo: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_files(repo, {"README.md": "mine\n"})
    tools = write_files(repo.parent / "tools", {"uvx": "#!/bin/sh\n"} if has_uvx else {"none": ""})
    (tools / "git").symlink_to(shutil.which("git") or "git")
    for path in tools.iterdir():
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    output = run_adopt(repo, template)
    git(repo, "merge", "--quiet", BRANCH)
    copy, compare = (line.strip() for line in output.splitlines()[-2:])
    monkeypatch.undo()
    command = shlex.split(copy)
    assert (command[0] == "uvx") == has_uvx
    if has_uvx:
        command = [sys.executable, "-m", "copier", *command[2:]]
    subprocess.run(command, cwd=repo, check=True)
    shown = subprocess.run(shlex.split(compare), cwd=repo, capture_output=True, text=True)
    assert "-mine\n" in shown.stdout and "+# demo\n" in shown.stdout
    assert git(repo, "status", "--porcelain") == ""


def test_an_adopted_repository_can_be_updated(repo: Path, template: Path, tmp_path: Path) -> None:
    source = tmp_path / "template"
    shutil.copytree(template, source)
    commit_files(repo, {"README.md": "mine\n", "src/demo/train.py": "MINE = 1\n"})
    run_adopt(repo, source)
    git(repo, "merge", "--quiet", BRANCH)
    later = {"Makefile": TEMPLATE["template/Makefile"].replace("true", "false"), "new.txt": "new\n"}
    commit_files(source, {f"template/{name}": text for name, text in later.items()}, "v1.1.0")
    commit_files(repo, {"Makefile": TEMPLATE["template/Makefile"] + "# mine\n"})
    copier.run_update(repo, defaults=True, overwrite=True, quiet=True)
    assert (repo / "Makefile").read_text() == later["Makefile"] + "# mine\n"
    assert (repo / "new.txt").read_text() == "new\n"
    assert (repo / "README.md").read_text() == "mine\n"
    assert (repo / "src/demo/train.py").read_text() == "MINE = 1\n"
    assert yaml.safe_load((repo / ANSWERS).read_text())["_commit"] == "v1.1.0"


def test_adopts_a_repository_of_notebooks_with_the_real_template(
    repo: Path, tmp_path: Path
) -> None:
    source = commit_files(release(tmp_path / "source"), {}, "v1.0.0")
    mine = {"README.md": "mine\n", "pyproject.toml": "[project]\n", "data/raw.csv": "1\n"}
    commit_files(repo, mine | {".gitignore": ".env\n", "notebooks/first.ipynb": "{}"})
    output = run_adopt(repo, source)
    assert set(collisions(output)) == {".gitignore", "README.md", "pyproject.toml"}
    git(repo, "merge", "--quiet", BRANCH)
    assert (repo / "src/scratch_detector/task/model.py").is_file()
    assert git(repo, "status", "--porcelain") == ""
    # Secrets do not depend on the user's .gitignore.
    secrets = ["keys/release.pem", "keys/root-1.pem", "deploy/secrets/server/api_keys"]
    assert git(repo, "check-ignore", *secrets).split() == secrets
    words = output[output.index("data, models and keys can be committed:") :]
    assert f"  cat ../{repo.name}.template/.gitignore >> .gitignore" in words


# Errors and interrupts


def test_rejects_a_repository_that_cannot_be_adopted(
    repo: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "is not in a git repository; for a new project: poc2prod new" in refusal(repo, template)
    assert "is not a folder; for a new project: poc2prod new" in refusal(repo / "gone", template)
    commit_files(repo, {"a.txt": "a", "sub/b.txt": "b"})
    assert f"is part of the repository {repo}" in refusal(repo / "sub", template)
    (repo / "a.txt").write_text("changed")
    assert "uncommitted changes" in refusal(repo, template)
    git(repo, "add", "--all")
    assert "uncommitted changes" in refusal(repo, template)
    git(repo, "reset", "--quiet", "--hard")
    git(repo, "branch", "poc2prod")
    assert "poc2prod" in refusal(repo, template)  # a branch with this name excludes ours
    git(repo, "branch", "-D", "poc2prod")
    git(repo, "branch", BRANCH)
    assert f"git branch -D {BRANCH}" in refusal(repo, template)
    git(repo, "branch", "-D", BRANCH)
    (repo / ANSWERS).touch()
    assert "poc2prod update" in refusal(repo, template)
    (repo / ANSWERS).unlink()
    monkeypatch.setenv("PATH", str(repo))
    with pytest.raises(Refusal, match="git is not installed"):
        adopt(repo, None, str(template), Console(file=StringIO()))


def test_rejects_answers_and_templates_like_new(repo: Path, template: Path, tmp_path: Path) -> None:
    commit_files(repo, {})
    bad = write_files(tmp_path, {"bad.yml": "project_name: bad\n"}) / "bad.yml"
    assert "project_name" in refusal(repo, template, bad)
    assert "is not a template" in refusal(repo, tmp_path / "gone")
    plain = tmp_path / "plain"
    shutil.copytree(template, plain, ignore=shutil.ignore_patterns(".git"))
    assert "has no version" in refusal(repo, plain)
    (plain / "template/{{= _copier_conf.answers_file }}.jinja").unlink()
    commit_files(plain, {}, "v1.0.0")
    assert "has no version" in refusal(repo, plain)


def test_rejects_changes_made_while_answers_are_read(repo: Path, template: Path) -> None:
    commit_files(repo, {"a.txt": "a"})
    answers = repo.parent / "answers"
    os.mkfifo(answers)

    def answer() -> None:
        with answers.open("w") as pipe:  # blocks until the other end is read
            (repo / "a.txt").write_text("changed")
            pipe.write("{}")

    Thread(target=answer, daemon=True).start()
    with pytest.raises(Refusal, match="uncommitted"):
        adopt(repo, answers, str(template), Console(file=StringIO()))
    assert git(repo, "branch", "--list", BRANCH) == ""


def test_a_kill_at_the_last_step_changes_nothing(
    repo: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_files(repo, {"README.md": "mine"})
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
