"""Every release x target, after the first month of a team, brought to today's template: both ways.

`releases/` holds each release as `make archive` wrote it; today's template is the next one.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import copier
import pytest
import yaml
from rich.console import Console

from conftest import ROOT, TARGETS
from environment import environment, release, requirements, search_path, variables
from poc2prod.making import inherited
from poc2prod.moves import moved_paths, read_moves
from poc2prod.update import update
from repository import committed, git

RELEASES = sorted((ROOT / "tests/updates/releases").glob("*.tar.gz"))
TODAY = "v99.0.0"
PACKAGE = "src/scratch_detector"
ANSWERS = ".copier-answers.yml"
Team = tuple[Path, dict[str, list[str]]]
# What a team changes in its first month: by file, what stood there and what they write instead.
MONTH = {
    f"{PACKAGE}/task/model.py": ("WIDTH = 16\n", "WIDTH = 24  # ours is larger\n"),
    f"{PACKAGE}/task/dataset.py": ('".jpeg"}', '".jpeg", ".bmp"}  # our cameras'),
    "pyproject.toml": ('  "prometheus-client', '  "packaging>=24",\n  "prometheus-client'),
    "README.md": ("## Your data", "## Our team\n\nWrite to us.\n\n## Your data"),
    "params.yaml": ("epochs:", "# we tried 20: no better\nepochs:"),
    "scope.yaml": ("min_metric: 0.9\n", "min_metric: 0.91 # we do better\n"),
    "Makefile": ("help: ##", "our-check:\n\techo ours\n\nhelp: ##"),
    f"{PACKAGE}/cli.py": ("def run(", "# our own command comes here\ndef run("),
    ".github/workflows/ci.yml": (
        "jobs:\n",
        "jobs:\n  ours:\n    name: our own job\n    runs-on: ubuntu-24.04\n    timeout-minutes: 9\n"
        "    permissions: {}\n    steps:\n      - run: make our-check\n",
    ),
}
DELETED, PLAN, PIXELS = "CONTRIBUTING.md", "docs/plan.png", bytes(range(256)) * 8
RENAMED = "intake", "our_intake"
ARCHIVES = pytest.mark.parametrize("archive", RELEASES, ids=lambda path: f"from {version(path)}")


def version(archive: Path) -> str:
    return f"v{archive.name.removesuffix('.tar.gz')}"


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with all of its releases and today's state, each with its tag."""
    folder = tmp_path_factory.mktemp("history") / "template"
    folder.mkdir()
    for archive in [*RELEASES, None]:
        for path in folder.iterdir():
            if path.name != ".git":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if archive:
            with tarfile.open(archive) as content:
                content.extractall(folder, filter="data")
        else:
            release(folder)
        name = version(archive) if archive else TODAY
        committed(folder, tag=name)
    return folder


def rendered(history: Path, folder: Path, version: str, target: str) -> Path:
    copier.run_copy(
        str(history), folder, {"target": target}, vcs_ref=version, defaults=True, quiet=True
    )
    return folder


def a_month_later(folder: Path) -> dict[str, list[str]]:
    """Edit as a team does; return the lines they wrote, by file."""
    before = contents(folder)
    for name, (old, new) in MONTH.items():
        text = (folder / name).read_text()
        assert text.count(old) == 1, f"{name}: {old!r}"
        (folder / name).write_text(text.replace(old, new))
    module, ours = (f"{PACKAGE}/{name}.py" for name in RENAMED)
    (folder / module).rename(folder / ours)
    code = [*(folder / PACKAGE).glob("*.py"), *(folder / "tests").rglob("*.py")]
    for path in [*code, folder / "dvc.yaml"]:
        text, (old, new) = path.read_text(), RENAMED
        for left, right in ((".", " import"), ('{"', '"}'), ("/", ".py")):
            text = text.replace(f"{left}{old}{right}", f"{left}{new}{right}")
        path.write_text(text)
    (folder / DELETED).unlink()
    (folder / PLAN).write_bytes(PIXELS)
    committed(folder)
    after = contents(folder)
    was = {name: before.get(name, before[module]).splitlines() for name in after}
    return {
        name: [line for line in after[name].splitlines() if line not in was[name]]
        for name in after
        if after[name] != before.get(name)
    }


def contents(folder: Path) -> dict[str, str]:
    """Every file, with its text: bytes that are no text take another form, and stay apart."""
    files = filter(Path.is_file, folder.rglob("*"))
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {
        name: path.read_text(errors="backslashreplace")
        for name, path in named.items()
        if not name.startswith(".git/")
    }


@pytest.fixture(scope="module")
def team(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Team]:
    """A project of some release after its first month, and the lines that are the team's."""
    done: dict[tuple[str, str], Team] = {}

    def start(version: str, target: str, folder: Path) -> Team:
        if (version, target) not in done:
            first = rendered(history, tmp_path_factory.mktemp("team") / "project", version, target)
            committed(first)
            done[version, target] = first, a_month_later(first)
        shutil.copytree(done[version, target][0], folder)
        return folder, done[version, target][1]

    return start


def updated(folder: Path, route: str, test: bool = False) -> None:
    if route == "copier":
        words = ["update", "--defaults", "--context-lines", "1000000", "--quiet"]
        subprocess.run([sys.executable, "-m", "copier", *words], cwd=folder, check=True)
        committed(folder)
        return
    options = {"to": None, "answers": [], "template": None, "dry_run": False}
    said = Console(file=io.StringIO(), width=100)
    status = update(folder, said, **options, test=test, merge=True)
    assert status == 0, said.file.getvalue()
    assert not test or "make test passes there" in said.file.getvalue()


@pytest.mark.parametrize("route", ["copier", "poc2prod"])
@pytest.mark.parametrize(
    "target",
    ["hybrid", *(pytest.param(t, marks=pytest.mark.long) for t in TARGETS if t != "hybrid")],
)
@ARCHIVES
def test_an_upgrade_keeps_what_a_team_wrote_and_brings_the_rest(
    archive: Path, target: str, route: str, team: Callable[..., Team], history: Path, tmp_path: Path
) -> None:
    folder, written = team(version(archive), target, tmp_path / "project")
    updated(folder, route)
    now = contents(folder)
    for name, lines in written.items():
        assert set(lines) <= {*now[name].splitlines()}, name
    assert (folder / PLAN).read_bytes() == PIXELS
    assert DELETED not in now and f"{PACKAGE}/{RENAMED[0]}.py" not in now
    assert not [name for name in now if re.search("^<<<<<<< |^>>>>>>> ", now[name], re.MULTILINE)]
    assert not [name for name in now if name.endswith(".rej")]

    fresh = contents(rendered(history, tmp_path / "fresh", TODAY, target))
    theirs = {*written, DELETED, PLAN, f"{PACKAGE}/{RENAMED[0]}.py", ANSWERS}
    assert {n: now.get(n) for n in {*now, *fresh} - theirs} == {
        n: fresh[n] for n in {*fresh} - theirs
    }
    answers = yaml.safe_load(now[ANSWERS])
    assert answers["_commit"] == TODAY and answers["target"] == target


@pytest.mark.long
@pytest.mark.parametrize(
    ("archive", "target"),
    [(RELEASES[0], "hybrid"), (RELEASES[-1], "cloud")],
    ids=lambda value: value if isinstance(value, str) else version(value),
)
def test_an_upgrade_is_green(
    archive: Path,
    target: str,
    team: Callable[..., Team],
    history: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its own `make setup test` passes before the merge; after it, all gates of the road do.

    A sample, because what is untouched is as in a fresh copy. The real setup is done once.
    """
    folder, _ = team(version(archive), target, tmp_path / "project")
    fresh = rendered(history, tmp_path / "fresh", TODAY, target)
    env = variables(folder, environment(requirements(fresh, "serve", "train", "dev")))
    is_whole = archive == RELEASES[0] and target == "hybrid"
    uv = shutil.which("uv", path=search_path())
    (tmp_path / "uv").write_text(f'#!/bin/sh\n[ "$1" = sync ] || exec {uv} "$@"\n')
    (tmp_path / "uv").chmod(0o755)
    shared = env | {"PYTHONPATH": "src", "PATH": f"{tmp_path}{os.pathsep}{env['PATH']}"}
    with monkeypatch.context() as patch:
        patch.setattr("poc2prod.update.inherited", inherited if is_whole else lambda: shared)
        updated(folder, "poc2prod", test=True)
    if is_whole:
        quiet = subprocess.DEVNULL
        subprocess.run(["make", "model"], cwd=folder, env=env, check=True, stdout=quiet)


def test_every_release_of_the_change_log_is_kept() -> None:
    named = re.findall(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(path.name.removesuffix(".tar.gz") for path in RELEASES)


def test_no_path_of_a_release_is_gone_unless_it_has_moved_or_is_retired(history: Path) -> None:
    """An edit of a file that is gone can be lost; `.jinja` is not in a render."""
    retired = (ROOT / "copier.yml").read_text().partition("_exclude:")[2].partition("_skip")[0]

    def paths(at: str) -> list[str]:
        listing = git(history, "ls-tree", "-r", "--name-only", at, "template").splitlines()
        return [name.removeprefix("template/").removesuffix(".jinja") for name in listing]

    now = set(paths(TODAY))
    for archive in RELEASES:
        then = paths(version(archive))
        moved = moved_paths(read_moves(ROOT), then, now)
        gone = [name for name in then if name not in now and name not in moved]
        assert [name for name in gone if Path(name).name not in retired] == []
