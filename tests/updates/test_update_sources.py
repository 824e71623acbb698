"""Where the project is, and where the template is."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from repository import committed, git, written
from small_template import (
    ANSWERS,
    CODE,
    by_template,
    by_user,
    refused,
    released,
    rendered,
    run,
    state,
)

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("temporary")]


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
