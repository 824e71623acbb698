"""Where a project and its template can be."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import small_template as small
from repository import commit_files, git, write_files

pytestmark = small.MARKS


def test_updates_a_folder_of_a_larger_repository(template: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "all")
    top = commit_files(tmp_path / "all", {"else/code.py": small.CODE, "else/x": "x\n"})
    project = small.render_project(template, top / "deep" / "mine")
    write_files(project, {"code.py": None})
    commit_files(project)
    write_files(top, {"else/x": "dirty\n", "else/new": "new\n"})
    git(top, "add", "else/x")
    write_files(top, {"else/x": "dirtier\n"})
    small.release_template(template, {"code.py": small.by_template(5), "new.py": "new\n"}, "v2")
    before = small.state(top)
    status, words = small.run(project)
    assert status == 0
    assert small.state(top) == before
    # An equal file outside the project is not taken for a move.
    assert "not restored though the template changed them:\n  code.py\n" in words
    git(project, "merge", "--quiet", "template/v2")
    assert git(top, "show", "HEAD:else/code.py") == small.CODE
    assert (project / "new.py").is_file()
    assert (top / "else/x").read_text() == "dirtier\n"
    small.release_template(template, {"new.py": "newer\n"}, "v3")
    write_files(project, {"new.py": "mine\n"})
    git(project, "commit", "--quiet", "--message=mine", ".")
    status, words = small.run(project)
    assert (status, "\n  new.py: changed by both\n" in words) == (1, True)
    assert f"\n  cd {tmp_path}/all-template-v3/deep/mine\n" in words


def test_updates_a_linked_worktree(project: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(project, "worktree", "add", "--quiet", "-b", "other", str(linked))
    commit_files(linked, {"code.py": small.by_user(9)})
    before = small.state(project), small.state(linked)
    assert small.run(linked)[0] == 0
    assert (small.state(project), small.state(linked)) == before
    git(linked, "merge", "--quiet", "--ff-only", "template/v1.1.0")
    assert "LINE 3" in (linked / "code.py").read_text()
    assert small.state(project) == before[0]


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
def test_template_is_read_from(
    source: Callable[[Path], str], template: Path, tmp_path: Path
) -> None:
    project = small.render_project(source(template), tmp_path / "ours")
    small.release_template(template, {"code.py": small.by_template(5)}, "v1.1.0")
    recorded = source(template)
    assert small.run(project, merge=True)[0] == 0
    assert (project / "code.py").read_text() == small.by_template(5)
    answers = yaml.safe_load((project / small.ANSWERS).read_text())
    assert (answers["_commit"], answers["_src_path"]) == ("v1.1.0", recorded)


def test_a_relative_source_starts_at_the_project(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (project / small.ANSWERS).read_text().replace(f"{project.parent}/", "../")
    commit_files(project, {small.ANSWERS: text})
    monkeypatch.chdir("/")
    assert "from ../source\n" in small.run(project, merge=True)[1]
    assert yaml.safe_load((project / small.ANSWERS).read_text())["_src_path"] == "../source"
    assert Path.cwd() == Path("/")


def test_uses_and_records_another_source(
    template: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.parent)
    offline = bundle(template)
    template.rename(template.with_name("moved away"))
    assert "cannot be read; fatal: " in small.expect_refusal(project)
    assert small.run(project, template="course.bundle", merge=True)[0] == 0
    answers = yaml.safe_load((project / small.ANSWERS).read_text())
    assert (answers["_commit"], answers["_src_path"]) == ("v1.1.0", offline)
    assert small.run(project)[1].startswith("Up to date: ")
