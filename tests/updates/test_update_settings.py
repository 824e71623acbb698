"""Settings that must not affect an update: environment, git configuration, paths, line endings."""

import os
from pathlib import Path

import pytest

from repository import commit_files, git, write_files
from small_template import MARKS, Files, by_user, release_template, render_project, run, state

pytestmark = MARKS


def test_ignores_the_environment_and_the_git_configuration(
    project: Path, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_files(
        project, {"code.py": by_user(3), ".gitattributes": "*.py merge=mine\n*.md merge=union"}
    )
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
    write_files(project, {".git/info/attributes": "*.py merge=union\n"})
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
    assert (status, "code.py: changed by both" in words) == (1, True)
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


def test_the_path_of_a_render_is_not_a_change(tmp_path: Path) -> None:
    where = {"where.txt.jinja": "{{ _copier_conf.dst_path }} {{ _folder_name }}\n"}
    template = release_template(tmp_path / "source", {**where}, "v1")
    project = render_project(template, tmp_path / "ours")
    release_template(template, {"new.py": "x\n"}, "v2")
    assert run(project, merge=True)[0] == 0
    assert (project / "where.txt").read_text() == f"{project} ours\n"


def test_line_endings_by_gitattributes_are_not_a_change(tmp_path: Path) -> None:
    first: Files = {".gitattributes": "* text=auto\n*.bat eol=crlf\n", "a.bat": "a\r\nb\r\nc\r\n"}
    template = release_template(tmp_path / "source", first, "v1")
    project = render_project(template, tmp_path / "ours")
    commit_files(project, {"a.bat": "mine\r\nb\r\nc\r\n"})
    release_template(template, {"a.bat": "a\r\nb\r\nC\r\n"}, "v2")
    assert run(project, merge=True)[0] == 0
    assert (project / "a.bat").read_bytes() == b"mine\r\nb\r\nC\r\n"
    assert git(project, "status", "--porcelain") == ""
    release_template(template, {"a.bat": "A\r\nb\r\nC\r\n"}, "v3")
    assert run(project)[0] == 1
    conflict = (tmp_path / "ours-template-v3" / "a.bat").read_bytes()
    assert conflict.count(b"\r\n") == conflict.count(b"\n") == 7
