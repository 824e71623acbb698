"""`poc2prod doctor`: every check passes and fails, and writes nothing."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import copier
import pytest
import yaml
from rich.console import Console

from environment import release, search_path
from poc2prod.adopt import adopt
from poc2prod.checkout import read_checkout
from poc2prod.doctor import FAIL, NOTE, OK, Finding, doctor, examine
from poc2prod.refusal import Refusal
from poc2prod.template import version_key
from repository import commit_files, git, write_files

ANSWERS = ".copier-answers.yml"
CHECKS = ["template", "edits", "left over", "limits", "task", "tools", "environment"]
TEMPLATE = {
    "copier.yml": """
project_name: {type: str, default: demo}
min_metric: {type: float, default: 0.9, validator: "{% if min_metric > 1 %}0 to 1{% endif %}"}
target: {type: str, default: cloud, choices: [cloud, edge]}
package_name: {type: str, ask: false, default: "{{= project_name }}"}
_subdirectory: template
_skip_if_exists: [README.md, "src/{{= package_name }}/task/"]
_envops: {variable_start_string: "{{=", variable_end_string: "}}", keep_trailing_newline: true}
_templates_suffix: .jinja
""",
    "template/{{= _copier_conf.answers_file }}.jinja": "{{= _copier_answers | to_nice_yaml -}}",
    "template/README.md.jinja": "# {{= project_name }}\n",
    "template/Makefile": "setup:\n\tuv sync\n",
    "template/scope.yaml.jinja": (
        "project: {{= project_name }}\ntarget: {{= target }}\nmin_metric: {{= min_metric }}\n"
    ),
    "template/pyproject.toml": (
        '[project]\nname = "demo"\nversion = "0"\nrequires-python = ">=3.11"\n'
        "dependencies = []\n[tool.uv]\npackage = false\n"
    ),
    "template/.gitignore": ".venv/\n",
    "template/src/{{= package_name }}/train.py": (
        "from .task.dataset import load_examples\nfrom .task.features import decode, features\n"
    ),
    "template/src/{{= package_name }}/serve.py.jinja": (
        "from {{= package_name }}.task import INTERFACE, features\n"
    ),
    "template/src/{{= package_name }}/task/__init__.py": "INTERFACE = 1\n",
    "template/src/{{= package_name }}/task/dataset.py": "def load_examples():\n    pass\n",
    "template/src/{{= package_name }}/task/features.py": (
        "try:\n    from json import loads as decode\nexcept ImportError:\n    pass\n"
        "features = abs\n"
    ),
}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template, and a project of it after setup; copied by each test."""
    folder = tmp_path_factory.mktemp("healthy")
    source = commit_files(folder / "template", TEMPLATE, "v1.0.0")
    copier.run_copy(str(source), folder / "project", defaults=True, quiet=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", search_path())
        patch.setenv("UV_PYTHON", sys.executable)
        subprocess.run(["uv", "sync", "--quiet", "--offline"], cwd=folder / "project", check=True)
    commit_files(folder / "project", {})
    return folder


@pytest.fixture
def project(healthy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without problems."""
    shutil.copytree(healthy / "project", tmp_path / "project", symlinks=True)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("PATH", search_path())
    monkeypatch.setenv("UV_PYTHON", sys.executable)
    return tmp_path / "project"


@pytest.fixture
def source(project: Path, healthy: Path) -> Path:
    """The template of this project, which a test may change."""
    folder = project.parent / "template"
    shutil.copytree(healthy / "template", folder)
    record(project, _src_path=str(folder))
    return folder


def record(project: Path, **changes: object) -> None:
    recorded = yaml.safe_load((project / ANSWERS).read_text()) | changes
    write_files(project, {ANSWERS: yaml.safe_dump(recorded)})


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All files of a folder, including those of git and uv."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
        if ".venv/bin" not in str(path)
    }


def run_doctor(project: Path, template: str | None = None) -> dict[str, Finding]:
    """Examine; check that nothing was written."""
    before = tree(project)
    findings = examine(project, template)
    assert tree(project) == before
    assert list(Path(os.environ["TMPDIR"]).iterdir()) == []
    assert [finding.check for finding in findings] == CHECKS
    return {finding.check: finding for finding in findings}


def expect_problem(
    project: Path, check: str, mark: str, template: str | None = None
) -> tuple[str, str]:
    """Return the finding and the command of a check that must be the only one with a problem."""
    findings = run_doctor(project, template)
    assert {found.check for found in findings.values() if found.mark != OK} == {check}, findings
    assert findings[check].mark == mark
    return findings[check].found, findings[check].command


def printed(project: Path, status: int, template: str | None = None) -> str:
    console = Console(file=StringIO(), width=20)
    assert doctor(project, template, console) == status
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_healthy_project_prints_one_line_per_check(project: Path) -> None:
    assert {found.mark for found in run_doctor(project).values()} == {OK}
    lines = printed(project, 0).splitlines()
    assert [line[:2] for line in lines] == [OK] * len(CHECKS)
    assert [line.split("  ")[2].strip() for line in lines] == CHECKS
    assert max(map(len, lines)) < 80 + len(str(project))


# Template and edits


def head(folder: Path) -> str:
    return git(folder, "rev-parse", "--short", "HEAD").strip()


def test_newer_releases_are_counted(project: Path, source: Path) -> None:
    old = head(source)
    commit_files(source, {"docs/new.md": "new\n"})
    for tag in ("v1.9.0", "v1.10.0", "v2.0.0rc1", "v0.9", "nightly"):
        git(source, "tag", tag)
    found, command = expect_problem(project, "template", NOTE)
    assert found == f"v1.0.0, 2 releases behind v1.10.0 of {source}"
    assert command == "poc2prod update"
    record(project, _commit=f"v1.0.0-0-g{old}")
    assert "2 releases behind" in expect_problem(project, "template", NOTE)[0]
    git(source, "checkout", "--quiet", "v1.10.0")
    record(project, _commit="v1.10.0")
    assert run_doctor(project)["template"].found == f"v1.10.0 is the newest version of {source}"


def test_the_printed_command_can_be_run(
    project: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_files(source, {"docs/new.md": "new\n"}, "v1.1.0")
    keep_tools(project, monkeypatch, "git", "make", "uv")
    assert run_doctor(project)["template"].command == f"{sys.executable} -m poc2prod update"
    monkeypatch.setattr(sys, "argv", ["/a b/bin/poc2prod"])
    assert run_doctor(project)["template"].command == "'/a b/bin/poc2prod' update"


@pytest.mark.parametrize(
    ("version", "sorted_by"),
    [("v2", [2]), ("1.2", [1, 2]), ("v1.0.0-3-g12", [1, 0, 0]), ("3451750", []), ("vnext", [])],
)
def test_distinguishes_a_version_from_a_commit(version: str, sorted_by: list[int]) -> None:
    assert version_key(version) == sorted_by


def test_counts_commits_until_there_is_a_release(project: Path, source: Path) -> None:
    git(source, "tag", "--delete", "v1.0.0")
    record(project, _commit=head(source), _src_path="../template")  # relative, as typed
    found = run_doctor(project)["template"]
    assert (found.mark, found.found) == (
        OK,
        f"commit {head(source)} is the newest version of ../template",
    )
    commit_files(source, {"docs/new.md": "new\n"})
    assert "1 commit behind the newest" in expect_problem(project, "template", NOTE)[0]
    git(source, "tag", "v1.0.0")
    assert "1 release behind v1.0.0" in expect_problem(project, "template", NOTE)[0]
    git(source, "tag", "--force", "v1.0.0", "HEAD~1")
    assert run_doctor(project)["template"].mark == OK


def test_an_unreachable_template_is_not_a_failure(
    project: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(source, "bundle", "create", "--quiet", "../course.bundle", "--all")
    source.rename(project.parent / "moved")
    findings = run_doctor(project)
    assert findings["template"].mark == findings["edits"].mark == NOTE
    assert "cannot look for newer versions" in findings["template"].found
    assert printed(project, 0)
    monkeypatch.chdir(project.parent)
    for place in ("moved", "course.bundle"):
        found = run_doctor(project, place)
        assert {finding.mark for finding in found.values()} == {OK}


def test_passwords_and_control_characters_are_not_printed(project: Path) -> None:
    record(project, _src_path="file://ana:secret@/gone.git")
    write_files(project, {"src/\x1b[2J.txt": "<<<<<<< ours\n"})
    git(project, "add", "--all")
    text = printed(project, 1)
    assert "secret" not in text and "\x1b" not in text and "src/?[2J.txt" in text


@pytest.mark.parametrize("commit", ["v1.0.0-1-g1234567", "--help", ""])
def test_an_unknown_version_is_a_failure(commit: str, project: Path) -> None:
    record(project, _commit=commit)
    findings = run_doctor(project)
    assert findings["template"].mark == FAIL and findings["edits"].mark == NOTE
    assert "updates are not possible" in findings["template"].found


def test_lists_edited_files_except_those_of_the_user(project: Path) -> None:
    write_files(project, {"README.md": "mine\n", "notes.txt": "mine\n"})
    shutil.copy(project / "src/demo/task/dataset.py", project / "src/demo/task/more.py")
    (project / "src/demo/task/features.py").write_text("decode = features = abs\n")
    (project / "Makefile").write_bytes(b"setup:\r\n\tuv sync\r\n")  # as checked out on Windows
    assert run_doctor(project)["edits"].mark == OK
    (project / "src/demo/train.py").unlink()
    write_files(project, {"Makefile": "setup:\n"})
    found, _ = expect_problem(project, "edits", NOTE)
    assert (
        found == "you have edited Makefile, src/demo/train.py (deleted); updates merge your edits"
    )


def test_files_that_a_command_wrote_are_not_edits(project: Path, source: Path) -> None:
    """The newest version lists them, also for a project of an older version."""
    write_files(project, {"Makefile": "setup:\n"})
    assert run_doctor(project)["edits"].mark == NOTE
    commit_files(source, {"hooks/generated.yml": "- Makefile # by `make`, until 1.0.0\n"})
    assert run_doctor(project)["edits"].mark == OK
    (project / "src/demo/train.py").unlink()
    assert "edited src/demo/train.py (deleted);" in run_doctor(project)["edits"].found


def test_names_at_most_five_files(project: Path, source: Path) -> None:
    later = {f"template/extra/{number}.txt": "x\n" for number in range(7)}
    commit_files(source, later, "v1.1.0")
    record(project, _commit="v1.1.0")
    found, _ = expect_problem(project, "edits", NOTE)
    assert "extra/4.txt (deleted), and 2 more; updates" in found and found.count("extra") == 5


def test_answers_that_cannot_be_rendered_are_a_failure(project: Path) -> None:
    record(project, min_metric=7)
    write_files(project, {"scope.yaml": "min_metric: 7\n"})
    assert "min_metric" in expect_problem(project, "edits", FAIL)[0]


# Conflicts, moves, limits and task/


def test_finds_conflict_markers_and_rejected_hunks(project: Path) -> None:
    conflict = "<<<<<<< before updating\na\n=======\nb\n>>>>>>> after updating\n"
    commit_files(project, {"notes.txt": conflict, "title.rst": "Title\n=======\n"})
    write_files(project, {"b.txt.rej": "@@\n", "untracked.txt": conflict})
    found, command = expect_problem(project, "left over", FAIL)
    assert found.endswith(": b.txt.rej, notes.txt") and "b.txt.rej notes.txt" in command


def test_finds_moved_files_at_their_old_paths(project: Path, source: Path) -> None:
    moves = "1.1.0: {src/*/serve.py: src/*/serving/app.py, src/*/train.py: src/*/fit/train.py}\n"
    package = "src/{{= package_name }}"
    folder = "template/" + package
    train = f"{folder}/train.py"
    moved = {
        f"{folder}/serve.py.jinja": None,
        f"{folder}/serving/app.py.jinja": TEMPLATE[f"{folder}/serve.py.jinja"],
        f"{folder}/fit/train.py": "",
        "hooks/moves.yml": moves,
    }
    commit_files(source, {train: TEMPLATE[train]} | moved, "v1.1.0")
    app = "from demo.task import INTERFACE, features\n"
    commit_files(project, {"src/demo/serving/app.py": app, "src/demo/fit/train.py": ""})
    record(project, _commit="v1.1.0")
    found, command = expect_problem(project, "left over", NOTE)
    # `train.py` is still rendered at its old path, too: an alias.
    assert found == (
        "files at old paths: src/demo/serve.py is now src/demo/serving/app.py; "
        "move your edits over first"
    )
    assert command == "git rm -- src/demo/serve.py"
    subprocess.run(command, shell=True, cwd=project, check=True, capture_output=True)
    assert run_doctor(project)["left over"].mark == OK


def test_finds_an_unfinished_merge(project: Path) -> None:
    git(project, "switch", "--quiet", "--create", "other")
    commit_files(project, {"notes.txt": "theirs\n"})
    git(project, "switch", "--quiet", "main")
    git(project, "merge", "--quiet", "other")
    git(project, "rm", "--quiet", "notes.txt")
    commit_files(project, {})
    git(project, "switch", "--quiet", "other")
    commit_files(project, {"notes.txt": "changed\n"})
    subprocess.run(["git", "merge", "--quiet", "main"], cwd=project, capture_output=True)
    assert expect_problem(project, "left over", FAIL)[0].endswith(": notes.txt")


def test_shows_limits_that_differ_from_the_recorded_answers(project: Path) -> None:
    write_files(project, {"scope.yaml": "project: x\nmin_metric: 0.95\nadded: 1\ntarget: edge\n"})
    findings = run_doctor(project)
    limits = findings["limits"]
    assert (limits.mark, findings["edits"].mark) == (NOTE, NOTE)
    assert "min_metric: scope.yaml 0.95, recorded 0.9" in limits.found
    assert "target: scope.yaml 'edge', recorded 'cloud'" in limits.found
    assert limits.command == (
        "poc2prod update --to current --answer min_metric=0.95 --answer target=edge"
    )


def test_an_unreadable_scope_is_a_failure(project: Path) -> None:
    write_files(project, {"scope.yaml": "min_metric: ["})
    limits = run_doctor(project)["limits"]
    assert limits.mark == FAIL and limits.command == "git checkout HEAD -- scope.yaml"


BROKEN: dict[str, tuple[dict[str, str | None], str]] = {
    "a name and a file": (
        {"features.py": "features = abs\n", "dataset.py": None},
        "task/dataset.py has no load_examples; task/features.py has no decode",
    ),
    "number": (
        {"__init__.py": "INTERFACE: int = 2\n"},
        "task/ has interface 2; the template needs 1",
    ),
    "no number": (
        {"__init__.py": "from .features import *\n"},
        "task/ has interface none; the template needs 1",
    ),
    "syntax": ({"features.py": "def features(:\n"}, "features.py, line 1)"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_names_what_is_missing_in_task(broken: str, project: Path) -> None:
    files, words = BROKEN[broken]
    for name, text in files.items():
        path = project / "src/demo/task" / name
        path.write_text(text) if text is not None else path.unlink()
    assert words in expect_problem(project, "task", FAIL)[0]


def test_names_may_come_from_anywhere(project: Path) -> None:
    task = project / "src/demo/task"
    (task / "features.py").unlink()
    write_files(
        task / "features", {"__init__.py": "from .inner import *\n", "inner.py": "decode = 1\n"}
    )
    assert run_doctor(project)["task"].mark == OK


def test_task_is_not_checked_without_the_package(project: Path) -> None:
    shutil.rmtree(project / "src")
    findings = run_doctor(project)
    assert findings["task"].mark == NOTE and "(deleted)" in findings["edits"].found


# Tools and environment


def keep_tools(project: Path, monkeypatch: pytest.MonkeyPatch, *tools: str) -> None:
    folder = project.parent / "tools"
    folder.mkdir()
    for tool in tools:
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    monkeypatch.setenv("PATH", str(folder))


def test_names_missing_tools(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_tools(project, monkeypatch, "git")
    findings = run_doctor(project)
    tools, environment = findings["tools"], findings["environment"]
    assert (tools.mark, tools.found) == (FAIL, "missing: make, uv")
    assert tools.command == "apt install make && pip install uv"
    assert (environment.mark, environment.command) == (NOTE, "pip install uv && make setup")


def install_stray_package(project: Path) -> None:
    info = next((project / ".venv/lib").glob("python*")) / "site-packages/stray-1.0.dist-info"
    text = "Metadata-Version: 2.1\nName: stray\nVersion: 1.0\n"
    write_files(info, {"METADATA": text, "RECORD": "", "INSTALLER": "pip\n"})


def require(requirement: str) -> Callable[[Path], None]:
    def act(project: Path) -> None:
        path = project / "pyproject.toml"
        path.write_text(path.read_text().replace("[]", f'["{requirement}"]'))

    return act


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no lock": (lambda project: (project / "uv.lock").unlink(), "uv.lock is missing"),
    "no environment": (lambda project: shutil.rmtree(project / ".venv"), ".venv is missing"),
    "old lock": (require("iniconfig"), "uv.lock does not match pyproject.toml"),
    "package too many": (install_stray_package, "does not match uv.lock: stray"),
    "damaged lock": (
        lambda project: (project / "uv.lock").write_text("version = "),
        "uv.lock does not match pyproject.toml",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_finds_an_environment_that_differs_from_the_lock(damage: str, project: Path) -> None:
    act, words = DAMAGED[damage]
    act(project)
    environment = run_doctor(project)["environment"]
    assert (environment.mark, environment.found, environment.command) == (FAIL, words, "make setup")


# Folders that are not projects


def refusal(folder: Path) -> str:
    with pytest.raises(Refusal) as caught:
        examine(folder, None)
    assert len(caught.value.problems) == 1
    return str(caught.value)


def test_says_how_to_trust_a_repository_of_another_user(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    remedy = f"git config --global --add safe.directory {project}"
    assert refusal(project) == f"{project} belongs to another user; to let git use it: {remedy}"
    for command in (
        lambda: adopt(project, None, None, Console(file=StringIO())),
        lambda: read_checkout(project),
    ):
        with pytest.raises(Refusal, match=re.escape(remedy)):
            command()


def test_rejects_a_folder_that_is_not_a_project(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"it has no {ANSWERS}" in refusal(project / "gone")
    assert f"it has no {ANSWERS}" in refusal(project / "src")
    recorded = (project / ANSWERS).read_text()
    for damaged in ("- no mapping\n", "a: [\n", f"<<<<<<< ours\n{recorded}", recorded * 2):
        write_files(project, {ANSWERS: damaged})
        commit = git(project, "rev-parse", "--short", "HEAD").strip()
        assert refusal(project).endswith(f"or restore it: git checkout {commit} -- {ANSWERS}")
    marked = f"<<<<<<< ours\n{recorded}=======\n{recorded}>>>>>>> theirs\n"
    commit_files(project, {ANSWERS: marked})  # the newest commit is damaged, too
    assert f"{ANSWERS}, line 1: conflict markers of git; " in refusal(project)
    assert refusal(project).endswith(f"or restore it: git checkout {commit} -- {ANSWERS}")
    write_files(project, {ANSWERS: recorded})
    (project / ".git").rename(project / "dot-git")
    assert "is not in a git repository" in refusal(project)
    keep_tools(project, monkeypatch)
    assert "git is not installed" in refusal(project)


def test_works_with_the_real_template(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = commit_files(release(tmp_path / "real"), {}, "v1.0.0")
    real = tmp_path / "scratch"
    copier.run_copy(str(source), real, {"modality": "audio"}, defaults=True, quiet=True)
    commit_files(real, {})
    task = real / "src/scratch_detector/task"
    (task / "features.py").write_text(
        (task / "features.py").read_text().replace("def decode", "def d")
    )
    scope = (real / "scope.yaml").read_text().replace("min_metric: 0.9", "min_metric: 0.95")
    write_files(real, {"scope.yaml": scope, "README.md": "mine\n", "prices.yaml": "mine: 1\n"})
    findings = run_doctor(real)
    assert findings["task"].found == "task/features.py has no decode"
    assert findings["limits"].command.endswith("--answer min_metric=0.95")
    assert findings["edits"].found.startswith("you have edited scope.yaml;")
    assert findings["environment"].found == "uv.lock is missing"
    assert [f.check for f in findings.values() if f.mark == OK] == [
        "template",
        "left over",
        "tools",
    ]
