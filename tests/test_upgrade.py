"""Every release x target, after the first month of a team, brought to today's template: both ways.

`tests/releases/` holds each release as `make archive` wrote it; today's template is the next one.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import copier
import pytest
import yaml
from rich.console import Console

from conftest import ROOT, TARGETS
from environment import release
from poc2prod.update import update

RELEASES = sorted((ROOT / "tests/releases").glob("*.tar.gz"))
TODAY = "v99.0.0"
PACKAGE = "src/scratch_detector"
ROUTES = ("copier", "poc2prod")
IDENTITY = {
    f"GIT_{who}_{what}": f"{who.lower()}@example.com"
    for who in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}
# What a team writes in its first month, and where: a line before which it stands, or the end.
MONTH: dict[str, tuple[str, str]] = {
    f"{PACKAGE}/task/model.py": ("", "\n\ndef our_network() -> str:\n    return 'ours'\n"),
    f"{PACKAGE}/task/dataset.py": ("", "\n\ndef our_loader() -> str:\n    return 'ours'\n"),
    "pyproject.toml": ('  "prometheus-client', '  "our-dependency>=1",\n'),
    "README.md": ("## Your data", "## Our team\n\nWrite to us.\n\n"),
    "params.yaml": ("epochs:", "# we tried 20: no better\n"),
    "Makefile": ("help: ##", "# our house rules: see the wiki\n"),
    ".github/workflows/ci.yml": (
        "",
        "  ours:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: make our-check\n",
    ),
    f"{PACKAGE}/cli.py": ("ROAD =", "# our own command comes here\n"),
}
PROMISE = ("min_metric: 0.9\n", "min_metric: 0.93 # we do better\n")
DELETED, RENAMED = "CONTRIBUTING.md", ("tests/test_data.py", "tests/test_our_data.py")
BINARY = bytes(range(256)) * 8


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    env = os.environ | IDENTITY
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout


def commit(folder: Path, words: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", words)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with all of its releases and today's state, each with its tag."""
    folder = tmp_path_factory.mktemp("history") / "template"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for archive in [*RELEASES, None]:
        for path in folder.iterdir():
            if path.name != ".git":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if archive:
            with tarfile.open(archive) as content:
                content.extractall(folder, filter="data")
        else:
            release(folder)
        name = f"v{archive.name.removesuffix('.tar.gz')}" if archive else TODAY
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--allow-empty", "--message", name)
        git(folder, "tag", name)
    return folder


def rendered(history: Path, folder: Path, version: str, target: str) -> Path:
    copier.run_copy(
        str(history), folder, {"target": target}, vcs_ref=version, defaults=True, quiet=True
    )
    return folder


def a_month_later(folder: Path) -> dict[str, list[str]]:
    """Edit as a team does; return the lines they wrote, by file."""
    for name, (mark, text) in MONTH.items():
        path = folder / name
        before, found, after = (
            path.read_text().partition(mark) if mark else (path.read_text(), "", "")
        )
        assert found == mark, f"{name} has no {mark!r}"
        path.write_text(f"{before}{text}{found}{after}")
    scope = folder / "scope.yaml"
    assert PROMISE[0] in scope.read_text()
    scope.write_text(scope.read_text().replace(*PROMISE))
    (folder / DELETED).unlink()
    (folder / RENAMED[0]).rename(folder / RENAMED[1])
    (folder / "docs/plan.png").write_bytes(BINARY)
    commit(folder, "a month")
    written = {name: text.strip("\n").splitlines() for name, (_, text) in MONTH.items()}
    return written | {"scope.yaml": [PROMISE[1].strip()]}


def updated(folder: Path, route: str) -> None:
    if route == "copier":
        words = ["update", "--defaults", "--context-lines", "1000000", "--quiet"]
        subprocess.run([sys.executable, "-m", "copier", *words], cwd=folder, check=True)
        commit(folder, "upgrade")
        return
    options = {"to": None, "answers": [], "template": None, "dry_run": False}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in IDENTITY.items():
            patch.setenv(name, value)
        assert update(folder, Console(quiet=True), **options, test=False, merge=True) == 0


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "target",
    ["hybrid", *(pytest.param(t, marks=pytest.mark.long) for t in TARGETS if t != "hybrid")],
)
@pytest.mark.parametrize("archive", RELEASES, ids=lambda path: path.name.removesuffix(".tar.gz"))
def test_an_upgrade_keeps_what_a_team_wrote_and_brings_the_rest(
    archive: Path, target: str, route: str, history: Path, tmp_path: Path
) -> None:
    version = f"v{archive.name.removesuffix('.tar.gz')}"
    folder = rendered(history, tmp_path / "project", version, target)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "start")
    written = a_month_later(folder)
    updated(folder, route)
    for name, lines in written.items():
        now = (folder / name).read_text().splitlines()
        assert set(lines) <= set(now), name
    assert (folder / "docs/plan.png").read_bytes() == BINARY
    assert (folder / RENAMED[1]).is_file() and not (folder / DELETED).exists()
    names = git(folder, "ls-files").splitlines()
    texts = {name: (folder / name).read_bytes() for name in names}
    assert not [n for n, text in texts.items() if re.search(rb"^<<<<<<< |^>>>>>>> ", text, re.M)]
    assert not [name for name in names if name.endswith(".rej")]

    fresh = rendered(history, tmp_path / "fresh", TODAY, target)
    theirs = {*written, DELETED, *RENAMED, "docs/plan.png", ".copier-answers.yml"}
    untouched = {
        path.relative_to(fresh).as_posix(): path.read_bytes()
        for path in fresh.rglob("*")
        if path.is_file() and path.relative_to(fresh).as_posix() not in theirs
    }
    assert {name: texts.get(name) for name in untouched} == untouched
    assert set(names) - set(untouched) <= theirs
    answers = yaml.safe_load((folder / ".copier-answers.yml").read_text())
    assert answers["_commit"] == TODAY and answers["target"] == target
    assert "min_metric: 0.93 # we do better" in (folder / "scope.yaml").read_text()


def test_every_release_of_the_change_log_is_kept() -> None:
    named = re.findall(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(path.name.removesuffix(".tar.gz") for path in RELEASES)


def test_no_path_of_a_release_is_gone_unless_it_is_retired(history: Path) -> None:
    """A file that moves is a file that an edit can be lost with."""
    retired = (ROOT / "copier.yml").read_text().partition("_exclude:")[2].partition("_skip")[0]
    now = set(git(history, "ls-tree", "-r", "--name-only", TODAY, "template").splitlines())
    for archive in RELEASES:
        version = f"v{archive.name.removesuffix('.tar.gz')}"
        then = git(history, "ls-tree", "-r", "--name-only", version, "template").splitlines()
        assert [name for name in then if name not in now and Path(name).name not in retired] == []
