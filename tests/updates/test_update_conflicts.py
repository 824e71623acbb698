"""Conflicts of an update, the project's checks, and the merge."""

import io
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from poc2prod.refusal import Refusal
from poc2prod.update import update
from repository import commit_files, git, write_files
from small_template import MARKS, by_user, expect_refusal, release_template, run, state, traces

pytestmark = MARKS


def test_printed_commands_finish_a_conflict(project: Path) -> None:
    commit_files(project, {"code.py": by_user(3), "with space.txt": "mine\n"})
    status, words = run(project, merge=True)
    assert status == 1
    place = project.with_name("mine-template-v1.1.0")
    assert "is in the way" not in words
    assert expect_refusal(project).startswith(
        f"{place} has the unresolved conflicts of an update; res"
    )
    (place / "code.py").write_text("resolved\n")
    printed = [line.strip() for line in words.splitlines() if line.startswith("  ")]
    finish = [line for line in printed if line.startswith(("cd", "git"))]
    assert len(finish) == 4
    subprocess.run(["sh", "-ec", "\n".join(finish[:3])], check=True, capture_output=True)
    assert (project / "code.py").read_text() == "resolved\n"
    assert not place.exists()
    assert git(project, "log", "--format=%an %s", "-1") == "Test Update the template to v1.1.0\n"
    assert run(project)[1].startswith("Up to date: ")


def test_printed_command_discards_a_conflict(project: Path) -> None:
    commit_files(project, {"code.py": by_user(3)})
    before = state(project), traces(project)
    words = run(project)[1]
    discard = words.splitlines()[-1].strip()
    assert discard.startswith("git worktree remove --force ")
    subprocess.run(["sh", "-ec", discard], check=True, capture_output=True, cwd=project)
    assert (state(project), traces(project)) == before
    run(project)
    shutil.rmtree(project.with_name("mine-template-v1.1.0"))  # this discards it too
    assert run(project)[0] == 1


def test_rejects_a_folder_at_the_path_of_the_worktree(project: Path) -> None:
    commit_files(project, {"code.py": by_user(3)})
    place = project.with_name("mine-template-v1.1.0")
    write_files(place, {"mine": "mine\n"})
    before = state(project), traces(project)
    with pytest.raises(Refusal, match=f"{place} exists, but is needed for the conflicts"):
        run(project)
    assert (state(project), traces(project)) == before


def test_removes_an_incomplete_worktree(project: Path) -> None:
    commit_files(project, {"code.py": by_user(3)})
    git(project, "branch", "template")
    assert "'refs/heads/template' exists; cannot create" in expect_refusal(project)


def test_merge_does_not_overwrite_files_created_meanwhile(template: Path, project: Path) -> None:
    release_template(template, {"data.csv": "theirs\n"}, "v1.2.0")
    meanwhile = f"test:\n\techo mine > {project}/data.csv\n"
    commit_files(project, {".gitignore": "data.csv\n", "Makefile": meanwhile})
    head = git(project, "rev-parse", "HEAD")
    with pytest.raises(Refusal, match="v1.2.0 was not merged; error: .* would be overwr"):
        run(project, test=True, merge=True)
    assert (project / "data.csv").read_text() == "mine\n"
    assert git(project, "rev-parse", "HEAD") == head


def test_merge_is_a_fast_forward(project: Path) -> None:
    commit_files(project, {"code.py": by_user(9)})
    head = git(project, "rev-parse", "HEAD")
    status, words = run(project, merge=True)
    assert status == 0
    assert words.endswith("Merged template/v1.1.0.\n")
    assert run(project) == (0, "Up to date: ../source has nothing newer than v1.1.0.\n")
    assert git(project, "rev-parse", "HEAD^") == head
    assert git(project, "status", "--porcelain") == ""
    assert "LINE 3" in (project / "code.py").read_text()


@pytest.mark.parametrize(("typed", "merged"), [("y\n", True), ("n\n", False), ("", False)])
def test_asks_before_the_merge_on_a_terminal(
    typed: str, merged: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    options: dict[str, Any] = {"to": None, "answers": [], "template": None, "dry_run": False}
    assert update(project, console, **options, test=False, merge=None) == 0
    assert ("LINE 3" in (project / "code.py").read_text()) == merged


MAKEFILE = "all:\nlint test: all\n\t@echo looked at $$(cat code.py | wc -l) lines\n"


@pytest.mark.parametrize("passes", [True, False])
def test_runs_the_checks_of_the_project_on_the_update(
    passes: bool, project: Path, template: Path
) -> None:
    write_files(
        project, {"Makefile": MAKEFILE + "\t@git log --oneline | wc -l; exit 7\n" * (not passes)}
    )
    commit_files(project)
    before = state(project)
    status, words = run(project, test=True, merge=True)
    if passes:
        assert (status, "make test passed on the update.\n" in words) == (0, True)
        assert "LINE 3" in (project / "code.py").read_text()
    else:
        assert status == 1
        commits = git(project, "rev-list", "--count", "template/v1.1.0")
        assert f"looked at 20 lines\n{commits}" in words
        assert words.endswith("Nothing was merged. To fix it: git switch template/v1.1.0\n")
        assert state(project) == before
        git(project, "rev-parse", "--verify", "template/v1.1.0")
        assert run(project, test=False)[0] == 0
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


def test_checks_do_not_touch_the_project(project: Path) -> None:
    rules = "setup:\n\ttouch ready\ntest:\n\ttest -f ready && echo serve.py:100: found; exit 3\n"
    commit_files(project, {"Makefile": rules})
    status, words = run(project, test=True)
    assert status == 1 and not (project / "ready").exists()
    assert "serve.py:100: found\n" in words and "make test failed on the update" in words
    commit_files(project, {"Makefile": rules.replace("touch ready", "exit 4")})
    assert "make setup failed on the update (exit status 2).\n" in run(project, test=True)[1]


@pytest.mark.parametrize("fails_before", [True, False])
def test_says_if_the_checks_also_fail_without_the_update(
    fails_before: bool, project: Path, template: Path
) -> None:
    """A submodule is an empty folder in the copy, and an ignored file is missing there."""
    commit_files(project, {".gitignore": "local.txt\n", "local.txt": "mine\n"})
    rule = "test -f local.txt" if fails_before else "! grep -q LINE code.py"
    commit_files(project, {"Makefile": f"test:\n\t{rule}\n"})
    status, words = run(project, test=True)
    assert status == 1 and "make test failed on the update (exit status 2).\n" in words
    assert ("The same happens without the update. " in words) == fails_before


def test_skips_checks_without_a_test_target(project: Path) -> None:
    commit_files(project, {"Makefile": "latest: x\n\techo\ntest := 1\n.PHONY: test\n"})
    status, words = run(project, test=True)
    assert (status, "make" in words) == (0, False)


@pytest.mark.parametrize("number", [3, 9], ids=["conflict", "no conflict"])
def test_dry_run_leaves_no_traces(number: int, project: Path) -> None:
    commit_files(project, {"code.py": by_user(number)})
    before = state(project), traces(project), git(project, "count-objects")
    status, words = run(project, dry_run=True, merge=True, test=True)
    assert (status, "v1.0.0 -> v1.1.0" in words) == (int(number == 3), True)
    assert ("code.py: changed by both" in words) == (number == 3)
    assert (state(project), traces(project), git(project, "count-objects")) == before
