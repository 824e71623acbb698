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

from conftest import QUESTIONS, ROOT, TARGETS
from environment import environment, release, requirements, search_path, variables
from poc2prod.make import child_environment
from poc2prod.moves import MOVES as MOVES_FILE
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
    ".github/workflows/ci.yml": (
        "jobs:\n",
        "jobs:\n  ours:\n    name: our own job\n    runs-on: ubuntu-24.04\n    timeout-minutes: 9\n"
        "    permissions: {}\n    steps:\n      - run: make our-check\n",
    ),
}
# The same in files that have moved since, by their path before 0.3.0, with imports as there.
MOVED = {
    f"{PACKAGE}/train.py": [
        ("from rich.progress", "from packaging.version import Version\nfrom rich.progress"),
        ("from .schema import", "from .refusal import Refusal\nfrom .schema import"),
        ("algorithms(True)\n", 'algorithms(True)\n    torch.set_printoptions(profile="short")\n'),
        (
            "def load_checkpoint(",
            'def our_torch() -> Version:\n    """Refuse an old one."""\n'
            '    if Version(torch.__version__) < Version("2"):\n'
            '        raise Refusal("torch", torch.__version__, "2 or newer", "2.5")\n'
            "    return Version(torch.__version__)\n\n\n"
            "def load_checkpoint(",
        ),
    ],
    f"{PACKAGE}/ingest.py": [
        ("from .schema import", "from .scope import load_params\nfrom .schema import"),
        ("{example.id}: {error}", "{example.id}: {error} (says our code)"),
        (
            "def example(",
            'def our_seed() -> int:\n    """Return it."""\n    return load_params().seed\n\n\n'
            "def example(",
        ),
    ],
    f"{PACKAGE}/metrics.py": [
        (
            "default_rng(0).dirichlet(counts, DRAWS) * c",
            "default_rng(7).dirichlet(counts, DRAWS) * c",
        ),
        (
            "scores[1], 1 - confidence))\n",
            "scores[1], 1 - confidence))\n\n\ndef our_share(matrix: np.ndarray) -> float:\n"
            '    """Return the share of ours."""\n    return float(matrix[0, 0] / matrix.sum())\n',
        ),
    ],
    f"{PACKAGE}/report.py": [
        ("import io\n", "import io\nfrom pathlib import Path\n"),
        ('cmap="Greens"', 'cmap="Blues"'),
        (
            '.partition(">")[2]\n',
            '.partition(">")[2]\n\n\ndef our_copy(figure: Figure, path: Path) -> None:\n'
            '    """Keep a picture."""\n    path.write_text(_svg(figure))\n',
        ),
    ],
    "tests/test_code_gates.py": [
        ("write_report\n", "write_report\nfrom scratch_detector.train import BASELINE_STEPS\n"),
        (
            "def test_github_asks",
            "def test_our_baseline() -> None:\n    assert BASELINE_STEPS == 2000\n\n\n"
            "def test_github_asks",
        ),
    ],
    "tests/test_model.py": [
        (
            "def test_a_file_that_is_no_model",
            "def test_our_network() -> None:\n    assert train.BASELINE_STEPS == 2000\n\n\n"
            "def test_a_file_that_is_no_model",
        )
    ],
}
# Modules of their own, as they write them before 0.3.0, and what these must be after it.
OURS = {
    f"{PACKAGE}/_ours.py": (
        "from . import scope, train\n\nSTEPS = train.BASELINE_STEPS\nSCOPE = scope\n",
        "from . import scope\nfrom .pipeline import train\n\n"
        "STEPS = train.BASELINE_STEPS\nSCOPE = scope\n",
    ),
    "tests/test_ours.py": (
        "from scratch_detector import _ours\nfrom scratch_detector.metrics import DRAWS\n\n\n"
        "def test_ours() -> None:\n    assert _ours.STEPS == 2000 and DRAWS == 4000\n",
        "from scratch_detector import _ours\nfrom scratch_detector.bounds import DRAWS\n\n\n"
        "def test_ours() -> None:\n    assert _ours.STEPS == 2000 and DRAWS == 4000\n",
    ),
}
MOVES = read_moves(ROOT)
DELETED, PLAN, PIXELS = "CONTRIBUTING.md", "docs/plan.png", bytes(range(256)) * 8
RENAMED = "intake", "our_intake"
OWNED = (f"{PACKAGE}/task/", "tests/task/", "README.md", "prices.yaml", "schema.yaml", "docs/dec")
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
    for name, edits in MOVED.items():
        _edit_moved(folder, name, edits)
    is_old = (folder / next(iter(MOVED))).exists()
    for name, texts in OURS.items():
        (folder / name).write_text(texts[not is_old])
    module, ours = (f"{PACKAGE}/{name}.py" for name in RENAMED)
    (folder / module).rename(folder / ours)
    code = [*(folder / PACKAGE).rglob("*.py"), *(folder / "tests").rglob("*.py")]
    for path in [*code, folder / "dvc.yaml"]:
        text, (old, new) = _renamed(path.read_text()), RENAMED
        if "LAYERS = [" in text:
            text += f'\n\nLAYER_OF["{new}"] = LAYER_OF["{old}"]\n'
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


def _edit_moved(folder: Path, name: str, edits: list[tuple[str, str]]) -> None:
    """Edit a file where this release has it, with imports that are right there."""
    place = moved_paths(MOVES, [name], contents(folder)).get(name, name)
    text = (folder / place).read_text()
    for old, new in edits:
        old, new = (_moved(part, place) if place != name else part for part in (old, new))
        assert text.count(old) == 1, f"{place}: {old!r}"
        text = text.replace(old, new)
    (folder / place).write_text(text)


def _moved(text: str, place: str) -> str:
    text = text.replace("scratch_detector.train ", "scratch_detector.pipeline.train ")
    return re.sub(r"from \.+(?=\w)", f"from {'.' * (place.count('/') - 1)}", text)


def _renamed(text: str) -> str:
    """Name a module as the team does, in imports and in dvc.yaml."""
    old, new = RENAMED
    return text.replace(f".{old} import", f".{new} import").replace(f"/{old}.py", f"/{new}.py")


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


@pytest.mark.parametrize("archive", RELEASES[1:2], ids=version)
def test_both_sides_of_a_line_are_in_the_worktree(
    archive: Path, team: Callable[..., Team], history: Path, tmp_path: Path
) -> None:
    """The template has rewritten what the team edits here; nothing else is in conflict."""
    folder, written = team(version(archive), "hybrid", tmp_path / "project")
    serve, layers = f"{PACKAGE}/serve.py", "tests/test_code_layers.py"
    edits = {
        serve: ('host = os.environ.get(f"', 'host = "0.0.0.0" or os.environ.get(f"'),
        layers: ('    {"intake"},', '    {"intake", "ours"},'),
    }
    for name, (old, new) in edits.items():
        text = (folder / name).read_text()
        assert text.count(old) == 1
        (folder / name).write_text(text.replace(old, new))
    committed(folder)
    before = contents(folder)
    fresh = contents(rendered(history, tmp_path / "fresh", TODAY, "hybrid"))
    moved = moved_paths(MOVES, before, fresh)
    said = Console(file=io.StringIO(), width=100)
    options = {"to": None, "answers": [], "template": None, "dry_run": False}
    assert update(folder, said, **options, test=False, merge=True) == 1, said.file.getvalue()
    assert contents(folder) == before
    there = contents(tmp_path / f"project-template-{TODAY}")
    in_conflict = {n for n in there if re.search("^<<<<<<< ", there[n], re.MULTILINE)}
    assert in_conflict == {moved[serve], moved[layers]}
    for name, (_, new) in edits.items():
        place = moved[name]
        mine, theirs = _sides(there[place])
        assert new in "\n".join(mine) and {*fresh[place].splitlines()} <= {*theirs}
        assert f"{place}: both changed it" in said.file.getvalue()
    for name, lines in written.items():
        place = moved.get(name, name)
        expected = {_moved(line, place) for line in lines} if place != name else {*lines}
        assert name in OURS or lost(expected, there[place]) == [], name


def lost(expected: set[str], text: str) -> list[str]:
    """List lines that are not in a text; a longer import of the same names is as good."""
    lines = {*text.splitlines()}
    return [line for line in expected - lines if not any(_imports_more(one, line) for one in lines)]


def _imports_more(line: str, than: str) -> bool:
    parts = [re.fullmatch(r"(from \S+ import) (.*)", one) for one in (line, than)]
    return (
        all(parts)
        and parts[0][1] == parts[1][1]
        and ({*parts[0][2].split(", ")} > {*parts[1][2].split(", ")})
    )


def _sides(text: str) -> tuple[list[str], list[str]]:
    """Return a file with conflict markers as either side has it."""
    mine: list[str] = []
    theirs: list[str] = []
    into = [mine, theirs]
    for line in text.splitlines():
        if line.startswith("<<<<<<< "):
            into = [mine]
        elif line == "=======" and into == [mine]:
            into = [theirs]
        elif line.startswith(">>>>>>> "):
            into = [mine, theirs]
        else:
            for side in into:
                side.append(line)
    return mine, theirs


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


@pytest.mark.parametrize(
    "target",
    ["hybrid", *(pytest.param(t, marks=pytest.mark.long) for t in TARGETS if t != "hybrid")],
)
@ARCHIVES
def test_an_update_keeps_what_a_team_wrote_and_brings_the_rest(
    archive: Path, target: str, team: Callable[..., Team], history: Path, tmp_path: Path
) -> None:
    folder, written = team(version(archive), target, tmp_path / "project")
    fresh = contents(rendered(history, tmp_path / "fresh", TODAY, target))
    fresh |= {name: _renamed(fresh[name]) for name in fresh if "/task/" not in name}
    before = contents(folder)
    moved = moved_paths(MOVES, before, fresh)
    updated(folder, "poc2prod")
    now = contents(folder)
    assert (folder / PLAN).read_bytes() == PIXELS
    for name, lines in written.items():
        place = moved.get(name, name)
        expected = {_moved(line, place) for line in lines} if place != name else {*lines}
        assert name in OURS or lost(expected, now[place]) == [], name
    assert {name: now[name] for name in OURS} == {name: after for name, (_, after) in OURS.items()}
    assert not {*moved} & {*now} - {*fresh}
    fresh |= {name: before[name] for name in before if name.startswith(OWNED)}
    is_as_fresh(now, fresh, {moved.get(name, name) for name in written}, target)


@pytest.mark.parametrize(
    "target",
    ["hybrid", *(pytest.param(t, marks=pytest.mark.long) for t in TARGETS if t != "hybrid")],
)
@ARCHIVES
def test_plain_copier_leaves_moved_files_with_all_edits_where_they_were(
    archive: Path, target: str, team: Callable[..., Team], history: Path, tmp_path: Path
) -> None:
    """As docs/upgrade.md tells it."""
    folder, written = team(version(archive), target, tmp_path / "project")
    before = contents(folder)
    fresh = contents(rendered(history, tmp_path / "fresh", TODAY, target))
    left = before.keys() - fresh.keys()
    # 0.3.0 moved modules into folders; no release since has moved a file to a new path.
    assert bool(moved_paths(MOVES, before, fresh).keys() & left) == (archive in RELEASES[:2])
    updated(folder, "copier")
    now = contents(folder)
    assert (folder / PLAN).read_bytes() == PIXELS
    for name, lines in written.items():
        assert {*lines} <= {*now[name].splitlines()}, name
    assert {name: now[name] for name in left} == {name: before[name] for name in left}
    fresh |= {name: before[name] for name in before if name.startswith(OWNED)}
    # Imports that both have changed are in conflict there, with both sides in the file.
    conflicts = {n for n in now if re.search("^<<<<<<< |^>>>>>>> ", now[n], re.MULTILINE)}
    assert conflicts <= {*written}
    is_as_fresh({n: now[n] for n in now if n not in conflicts}, fresh, {*written, *left}, target)


def is_as_fresh(now: dict[str, str], fresh: dict[str, str], edited: set[str], target: str) -> None:
    """What the team deleted stays deleted, nothing is in conflict, all else is as rendered."""
    assert DELETED not in now and f"{PACKAGE}/{RENAMED[0]}.py" not in now
    assert not [name for name in now if re.search("^<<<<<<< |^>>>>>>> ", now[name], re.MULTILINE)]
    assert not [name for name in now if name.endswith(".rej")]
    theirs = {*edited, DELETED, PLAN, f"{PACKAGE}/{RENAMED[0]}.py", ANSWERS}
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
    for name in OURS:  # a stage may import a new module: the team has to run `make deps` for it
        (folder / name).unlink()
    committed(folder)
    fresh = rendered(history, tmp_path / "fresh", TODAY, target)
    env = variables(folder, environment(requirements(fresh, "serve", "train", "dev")))
    is_whole = archive == RELEASES[0] and target == "hybrid"
    uv = shutil.which("uv", path=search_path())
    (tmp_path / "uv").write_text(f'#!/bin/sh\n[ "$1" = sync ] || exec {uv} "$@"\n')
    (tmp_path / "uv").chmod(0o755)
    shared = env | {"PYTHONPATH": "src", "PATH": f"{tmp_path}{os.pathsep}{env['PATH']}"}
    with monkeypatch.context() as patch:
        own = child_environment if is_whole else lambda: shared
        patch.setattr("poc2prod.update.child_environment", own)
        updated(folder, "poc2prod", test=True)
    if is_whole:
        quiet = subprocess.DEVNULL
        subprocess.run(["make", "model"], cwd=folder, env=env, check=True, stdout=quiet)


def test_every_release_of_the_change_log_is_kept() -> None:
    named = re.findall(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(path.name.removesuffix(".tar.gz") for path in RELEASES)


def test_no_path_of_a_release_is_gone_unless_it_has_moved_or_is_retired(history: Path) -> None:
    """An edit of a file that is gone can be lost: plain Copier is kept from deleting it."""
    now, retired = paths(history, TODAY), excluded()
    for archive in RELEASES:
        then = paths(history, version(archive))
        assert sorted(then - now - moved_paths(MOVES, then, now).keys() - retired) == []


def test_each_move_is_of_a_file_that_was_there(history: Path) -> None:
    """At the old path in the release before or since then, and at the new one in its own."""
    names = [version(archive) for archive in RELEASES]
    ever = paths_ever()
    for number, moves in yaml.safe_load((ROOT / MOVES_FILE).read_text()).items():
        place = names.index(f"v{number}") if f"v{number}" in names else len(names)
        after = paths(history, [*names, TODAY][place])
        was_there = paths(history, names[place - 1]) | ever
        assert sorted({*moves} - was_there) == [], number
        assert sorted({*moves.values()} - after) == [], number


def test_plain_copier_does_not_delete_what_has_moved(history: Path) -> None:
    """An old path is excluded, unless a file of today is there; so is its alias."""
    now, old = paths(history, TODAY), {was for was, _ in MOVES}
    assert old - now - excluded() == set()
    assert now & old & excluded() == set()


def excluded() -> set[str]:
    """Return the paths that copier.yml excludes whatever is answered."""
    (pattern,) = QUESTIONS.settings["_exclude"]
    everything = {"target": "hybrid", "uplink": "mqtt", "decider": "@someone"}
    text = QUESTIONS.text(pattern, everything)
    return {line.strip().removeprefix("/") for line in text.splitlines() if line.strip()}


def paths(history: Path, at: str) -> set[str]:
    """Return what a release may render, with `*` for the package."""
    listing = git(history, "ls-tree", "-r", "-z", "--name-only", at, "template")
    return as_patterns(listing)


def paths_ever() -> set[str]:
    """Return what any commit of this template rendered; a shallow clone has but the last."""
    return as_patterns(
        git(ROOT, "log", "--format=", "-z", "--name-only", "--no-renames", "--", "template")
    )


def as_patterns(listing: str) -> set[str]:
    return {
        re.sub(r"{%.*?%}", "", name)
        .removeprefix("template/")
        .removesuffix(".jinja")
        .replace("{{= package_name }}", "*")
        for name in listing.split("\0")
    }
