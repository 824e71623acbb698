"""Projects and options that `poc2prod update` rejects, in one line and without traces."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from poc2prod.refusal import Refusal
from repository import commit_files, git, write_files
from small_template import ANSWERS, MARKS, expect_refusal, release_template, run, state, traces

pytestmark = MARKS

ANSWERED = "_commit: v1.0.0\n_src_path: {}\n"
INVALID_PROJECTS: list[tuple[str, Callable[[Path], object], str]] = [
    (
        "no answers",
        lambda p: commit_files(p, {ANSWERS: None}),
        "mine is not a project of a template: it has no .copier-answers.yml; use poc2prod adopt",
    ),
    (
        "no version",
        lambda p: commit_files(p, {ANSWERS: "_src_path: x\n"}),
        "has no _commit, which an update needs; add",
    ),
    (
        "no source",
        lambda p: commit_files(p, {ANSWERS: "_commit: v1\n"}),
        "has no _src_path, which an update needs; add",
    ),
    (
        "no YAML",
        lambda p: commit_files(p, {ANSWERS: "a: [\n"}),
        ".copier-answers.yml, line 2: not YAML",
    ),
    (
        "version gone",
        lambda p: commit_files(p, {ANSWERS: f"_commit: v9\n_src_path: {p.parent}/source\n"}),
        "source has no v9, which .copier-answers.yml records as the version of the project; give a "
        "source that has it with --template SOURCE",
    ),
    (
        "no option",
        lambda p: commit_files(p, {ANSWERS: f"_commit: --all\n_src_path: {p.parent}/source\n"}),
        "source has no --all, which",
    ),
    (
        "dirty",
        lambda p: write_files(p, {"code.py": "mine"}),
        "mine has uncommitted changes; commit or stash them",
    ),
    (
        "staged",
        lambda p: (write_files(p, {"x": ""}), git(p, "add", "x")),
        "mine has uncommitted changes; commit or stash them",
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
    ("spoil", "words"),
    [row[1:] for row in INVALID_PROJECTS],
    ids=[row[0] for row in INVALID_PROJECTS],
)
def test_rejects_a_project_that_cannot_be_updated(
    spoil: Callable[[Path], object], words: str, project: Path
) -> None:
    spoil(project)
    if words.endswith("is not"):
        git(project, "commit", "--quiet", "--message=untracked")
    before = state(project), traces(project)
    with pytest.raises(Refusal) as caught:
        run(project)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (state(project), traces(project)) == before


def test_rejects_an_unknown_version(project: Path, template: Path) -> None:
    assert expect_refusal(project, to="v1.1") == "../source has no v1.1; did you mean 'v1.1.0'?"
    assert expect_refusal(project, to="-x") == "../source has no -x; it has v1.0.0, v1.1.0"
    (template / "copier.yml").unlink()
    release_template(template, {}, "v2.0.0")
    assert expect_refusal(project) == "../source is not a template at v2.0.0: it has no copier.yml"


def test_rejects_a_folder_without_commits(project: Path, tmp_path: Path) -> None:
    shutil.rmtree(project / ".git")
    with pytest.raises(Refusal, match="is not in a git repository; create one: git init"):
        run(project)
    git(project, "init", "--quiet")
    with pytest.raises(Refusal, match="is not committed; git add --all && git commit"):
        run(project)
    with pytest.raises(Refusal, match=f"did you mean {project}?"):
        run(project / "src")


def test_rejects_a_machine_without_git(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refusal, match="git is needed to update a project: apt install git"):
        run(project)


def test_rejects_a_template_that_cannot_be_rendered(template: Path, project: Path) -> None:
    release_template(template, {"bad.txt.jinja": "{{ gone.gone }}"}, "v1.2.0")
    assert "cannot be rendered; 'gone' is undefined" in expect_refusal(project)


def test_hides_passwords_in_messages(project: Path) -> None:
    message = expect_refusal(project, template="https://ana:secret@localhost:1/template.git")
    assert message.startswith("https://localhost:1/template.git cannot be read; fatal: unable to")
    assert "ana" not in message and "secret" not in message


def test_keeps_commits_of_the_user_on_the_branch(project: Path) -> None:
    assert run(project)[0] == 0
    assert run(project)[0] == 0  # its own commit is replaced
    git(project, "switch", "--quiet", "template/v1.1.0")
    commit_files(project, {"code.py": "fixed\n"})
    git(project, "switch", "--quiet", "-")
    assert expect_refusal(project) == (
        "the branch template/v1.1.0 has your own unmerged commits; "
        "git merge template/v1.1.0, or delete it: git branch -D template/v1.1.0"
    )
