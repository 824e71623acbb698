"""Output of `poc2prod update`: changes, versions and the next command."""

import io
from pathlib import Path

import copier
import yaml
from rich.console import Console

from poc2prod.update import update
from repository import commit_files, git
from small_template import (
    ANSWERS,
    CODE,
    CODE_PY,
    MARKS,
    by_template,
    release_template,
    render_project,
    run,
)

pytestmark = MARKS


def test_prints_the_newer_sections_of_the_changelog(template: Path, tmp_path: Path) -> None:
    old = "# Changes\n\nAbout.\n\n## 1.0.0\n\n- the first\n"
    git(template, "tag", "--delete", "v1.0.0")
    release_template(template, {}, "v1.0.0", CHANGELOG_md=old)
    project = render_project(template, tmp_path / "ours")
    news = "## [1.10.0] - 2026-11-20\n\n- Faster, *because* it was slow\n\n## v1.9.0\n\n- nine\n\n"
    release_template(
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
    assert "The update is one commit on branch template/v1.10.0.\n" in words
    assert words.endswith("To merge it: git merge template/v1.10.0\n")
    assert git(project, "log", "--format=%an %s", "-1", "template/v1.10.0") == (
        "poc2prod Update the template from v1.0.0 to v1.10.0\n"
    )


def test_formats_the_changelog_on_a_terminal(project: Path, template: Path) -> None:
    release_template(
        template, {"new.py": "x\n"}, "v1.2.0", CHANGELOG_md="## 1.2.0\n\n- *One* more\n"
    )
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None)
    options = {"to": None, "template": None, "dry_run": True, "test": False, "merge": None}
    assert update(project, console, answers=[], **options) == 0
    assert isinstance(console.file, io.StringIO)
    assert " • One more" in console.file.getvalue()


def test_prints_commit_subjects_without_a_changelog(project: Path) -> None:
    assert "release v1.1.0" in run(project)[1]


def test_versions_are_commits_without_tags(tmp_path: Path) -> None:
    template = release_template(
        tmp_path / "source", CODE_PY, None, CHANGELOG_md="## Unreleased\n\n- one\n"
    )
    project = render_project(template, tmp_path / "ours")
    release_template(
        template, {"code.py": by_template(5)}, None, CHANGELOG_md="## Unreleased\n\n- two\n"
    )
    short = git(template, "describe", "--always").strip()
    status, words = run(project)
    assert (status, "two" in words) == (0, True)
    assert words.endswith(f"To merge it: git merge template/{short}\n")
    git(project, "merge", "--quiet", f"template/{short}")
    assert yaml.safe_load((project / ANSWERS).read_text())["_commit"] == short
    assert run(project)[1].startswith("Up to date: ")


def test_updates_to_a_given_version(project: Path, template: Path) -> None:
    first = git(template, "rev-parse", "v1.0.0").strip()
    release_template(template, {"code.py": by_template(7)}, "v1.2.0")
    assert "v1.0.0 -> v1.1.0" in run(project, to="v1.1.0", merge=True)[1]
    assert "v1.1.0 -> v1.2.0" in run(project, merge=True)[1]
    assert "v1.2.0 -> v1.0.0" in run(project, to=first, merge=True)[1]
    assert (project / "code.py").read_text() == CODE


def test_a_project_newer_than_the_last_release_is_up_to_date(
    template: Path, tmp_path: Path
) -> None:
    release_template(template, {"code.py": by_template(5)}, None)
    copier.run_copy(str(template), tmp_path / "ours", defaults=True, quiet=True, vcs_ref="HEAD")
    git(tmp_path, "init", "--quiet", "ours")
    project = commit_files(tmp_path / "ours")
    assert "has nothing newer than v1.0.0-1-g" in run(project)[1]
