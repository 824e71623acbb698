"""Projects of every release and target, edited by a team and updated to the current template.

Each runs with `poc2prod update` and with plain `copier update`. `releases/` contains the archives
that `make archive` wrote; the current template counts as the next release.
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
from repository import commit_files, git

RELEASES = sorted((ROOT / "tests/updates/releases").glob("*.tar.gz"))
TODAY = "v99.0.0"
PACKAGE = "src/scratch_detector"
ANSWERS = ".copier-answers.yml"
Team = tuple[Path, dict[str, list[str]]]
# Typical edits of a team's first month: by file, the old and the new text.
TEAM_EDITS = {
    f"{PACKAGE}/task/model.py": ("WIDTH = 16\n", "WIDTH = 24  # larger inputs\n"),
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
# Edits of files that 0.3.0 moved, by their older paths and with the imports used there.
EDITS_OF_MOVED_FILES = {
    f"{PACKAGE}/train.py": [
        ("from rich.progress", "from packaging.version import Version\nfrom rich.progress"),
        ("from .schema import", "from .refusal import Refusal\nfrom .schema import"),
        ("algorithms(True)\n", 'algorithms(True)\n    torch.set_printoptions(profile="short")\n'),
        (
            "def load_checkpoint(",
            'def our_torch() -> Version:\n    """Reject old versions."""\n'
            '    if Version(torch.__version__) < Version("2"):\n'
            '        raise Refusal("torch", torch.__version__, "2 or newer", "2.5")\n'
            "    return Version(torch.__version__)\n\n\n"
            "def load_checkpoint(",
        ),
    ],
    f"{PACKAGE}/ingest.py": [
        ("from .schema import", "from .scope import load_params\nfrom .schema import"),
        ("{example.id}: {error}", "{example.id}: {error} (in our code)"),
        (
            "def example(",
            'def our_seed() -> int:\n    """Read it."""\n    return load_params().seed\n\n\n'
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
            '    """Return our share."""\n    return float(matrix[0, 0] / matrix.sum())\n',
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
# Modules that the team adds: as written before 0.3.0, and as they must be after it.
ADDED_FILES = {
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


def version(archive: Path) -> str:
    return f"v{archive.name.removesuffix('.tar.gz')}"


# A hybrid has the files of both other targets; those start at the oldest release only.
STARTS = [(RELEASES[0], target) for target in TARGETS if target != "hybrid"]
STARTS += [(archive, "hybrid") for archive in RELEASES]


def _marks(archive: Path, target: str) -> list[pytest.MarkDecorator]:
    if target != "hybrid":
        return [pytest.mark.matrix]
    return [] if archive == RELEASES[-1] else [pytest.mark.long]


EVERY_START = pytest.mark.parametrize(
    ("archive", "target"),
    [
        pytest.param(
            archive,
            target,
            marks=_marks(archive, target),
            id=f"from {version(archive)}-{target}",
        )
        for archive, target in STARTS
    ],
)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of the template, with a tag for each release and for the current state."""
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
        commit_files(folder, tag=name)
    return folder


def render_version(history: Path, folder: Path, version: str, target: str) -> Path:
    copier.run_copy(
        str(history), folder, {"target": target}, vcs_ref=version, defaults=True, quiet=True
    )
    return folder


def edit_as_team(folder: Path) -> dict[str, list[str]]:
    """Apply and commit the team's edits; return the lines they wrote, by file."""
    before = contents(folder)
    for name, (old, new) in TEAM_EDITS.items():
        text = (folder / name).read_text()
        assert text.count(old) == 1, f"{name}: {old!r}"
        (folder / name).write_text(text.replace(old, new))
    for name, edits in EDITS_OF_MOVED_FILES.items():
        _edit_moved_file(folder, name, edits)
    is_old = (folder / next(iter(EDITS_OF_MOVED_FILES))).exists()
    for name, texts in ADDED_FILES.items():
        (folder / name).write_text(texts[not is_old])
    module, ours = (f"{PACKAGE}/{name}.py" for name in RENAMED)
    (folder / module).rename(folder / ours)
    code = [*(folder / PACKAGE).rglob("*.py"), *(folder / "tests").rglob("*.py")]
    for path in [*code, folder / "dvc.yaml"]:
        text, (old, new) = _with_renamed_module(path.read_text()), RENAMED
        if "LAYERS = [" in text:
            text += f'\n\nLAYER_OF["{new}"] = LAYER_OF["{old}"]\n'
        path.write_text(text)
    (folder / DELETED).unlink()
    (folder / PLAN).write_bytes(PIXELS)
    commit_files(folder)
    after = contents(folder)
    was = {name: before.get(name, before[module]).splitlines() for name in after}
    return {
        name: [line for line in after[name].splitlines() if line not in was[name]]
        for name in after
        if after[name] != before.get(name)
    }


def _edit_moved_file(folder: Path, name: str, edits: list[tuple[str, str]]) -> None:
    """Edit a file at its path in this release, with the imports for that path."""
    place = moved_paths(MOVES, [name], contents(folder)).get(name, name)
    text = (folder / place).read_text()
    for old, new in edits:
        old, new = (
            _with_moved_imports(part, place) if place != name else part for part in (old, new)
        )
        assert text.count(old) == 1, f"{place}: {old!r}"
        text = text.replace(old, new)
    (folder / place).write_text(text)
    sort_imports = ["ruff", "check", "--quiet", "--no-cache", "--select=I", "--fix", place]
    subprocess.run([sys.executable, "-m", *sort_imports], cwd=folder, check=True)


def _with_moved_imports(text: str, place: str) -> str:
    text = text.replace("scratch_detector.train ", "scratch_detector.pipeline.train ")
    return re.sub(r"from \.+(?=\w)", f"from {'.' * (place.count('/') - 1)}", text)


def _with_renamed_module(text: str) -> str:
    """Use the team's name of a module in imports and in dvc.yaml."""
    old, new = RENAMED
    return text.replace(f".{old} import", f".{new} import").replace(f"/{old}.py", f"/{new}.py")


def contents(folder: Path) -> dict[str, str]:
    """Return the text of every file; bytes that are not UTF-8 are escaped."""
    files = filter(Path.is_file, folder.rglob("*"))
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {
        name: path.read_text(errors="backslashreplace")
        for name, path in named.items()
        if not name.startswith(".git/")
    }


@pytest.fixture(scope="module")
def team(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Team]:
    """Create a project of a release with the team's edits, and return the lines they wrote."""
    cache: dict[tuple[str, str], Team] = {}

    def start(version: str, target: str, folder: Path) -> Team:
        if (version, target) not in cache:
            first = render_version(
                history, tmp_path_factory.mktemp("team") / "project", version, target
            )
            commit_files(first)
            cache[version, target] = first, edit_as_team(first)
        shutil.copytree(cache[version, target][0], folder)
        return folder, cache[version, target][1]

    return start


@pytest.mark.parametrize("archive", RELEASES[1:2], ids=version)
def test_a_line_changed_by_both_is_a_conflict_in_the_worktree(
    archive: Path, team: Callable[..., Team], history: Path, tmp_path: Path
) -> None:
    """The template has rewritten the lines that the team edits here; nothing else conflicts."""
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
    commit_files(folder)
    before = contents(folder)
    fresh = contents(render_version(history, tmp_path / "fresh", TODAY, "hybrid"))
    moved = moved_paths(MOVES, before, fresh)
    status, output = run_update(folder)
    assert status == 1, output
    assert contents(folder) == before
    there = contents(tmp_path / f"project-template-{TODAY}")
    in_conflict = {n for n in there if re.search("^<<<<<<< ", there[n], re.MULTILINE)}
    assert in_conflict == {moved[serve], moved[layers]}
    for name, (_, new) in edits.items():
        place = moved[name]
        mine, theirs = _sides(there[place])
        assert new in "\n".join(mine) and {*fresh[place].splitlines()} <= {*theirs}
        assert f"{place}: changed by both" in output
    for name, lines in written.items():
        place = moved.get(name, name)
        expected = (
            {_with_moved_imports(line, place) for line in lines} if place != name else {*lines}
        )
        assert name in ADDED_FILES or find_lost_lines(expected, there[place]) == [], name


def find_lost_lines(expected: set[str], text: str) -> list[str]:
    """List lines that a text lacks. An import with the expected names that are used is found."""
    lines = {*text.splitlines()}
    return [
        line
        for line in expected - lines
        if not any(_imports_names_in_use(one, line, text) for one in lines)
    ]


def _imports_names_in_use(line: str, expected: str, text: str) -> bool:
    """Whether an import has the expected names, except those that the template stopped using."""
    parts = [re.fullmatch(r"(from \S+ import) (.*)", one) for one in (line, expected)]
    if not all(parts) or parts[0][1] != parts[1][1]:
        return False
    names, wanted = ({*part[2].split(", ")} for part in parts)
    return bool(names & wanted) and not any(
        re.search(rf"\b{name}\b", text) for name in wanted - names
    )


def _sides(text: str) -> tuple[list[str], list[str]]:
    """Split a file with conflict markers into the lines of both sides."""
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


def run_update(folder: Path, test: bool = False) -> tuple[int, str]:
    """Run `poc2prod update` and return its exit status and output."""
    console = Console(file=io.StringIO(), width=100)
    options = {"to": None, "answers": [], "template": None, "dry_run": False}
    status = update(folder, console, **options, test=test, merge=True)
    return status, console.file.getvalue()


def update_by(route: str, folder: Path, test: bool = False) -> None:
    """Update with `poc2prod update` or plain `copier update`; it must succeed."""
    if route == "copier":
        words = ["update", "--defaults", "--context-lines", "1000000", "--quiet"]
        subprocess.run([sys.executable, "-m", "copier", *words], cwd=folder, check=True)
        commit_files(folder)
        return
    status, output = run_update(folder, test)
    assert status == 0, output
    assert not test or "make test passed on the update" in output


@EVERY_START
def test_update_keeps_team_edits_and_takes_everything_else(
    archive: Path, target: str, team: Callable[..., Team], history: Path, tmp_path: Path
) -> None:
    folder, written = team(version(archive), target, tmp_path / "project")
    fresh = contents(render_version(history, tmp_path / "fresh", TODAY, target))
    fresh |= {name: _with_renamed_module(fresh[name]) for name in fresh if "/task/" not in name}
    before = contents(folder)
    moved = moved_paths(MOVES, before, fresh)
    update_by("poc2prod", folder)
    now = contents(folder)
    assert (folder / PLAN).read_bytes() == PIXELS
    for name, lines in written.items():
        place = moved.get(name, name)
        expected = (
            {_with_moved_imports(line, place) for line in lines} if place != name else {*lines}
        )
        assert name in ADDED_FILES or find_lost_lines(expected, now[place]) == [], name
    assert {name: now[name] for name in ADDED_FILES} == {
        name: after for name, (_, after) in ADDED_FILES.items()
    }
    assert not {*moved} & {*now} - {*fresh}
    fresh |= {name: before[name] for name in before if name.startswith(OWNED)}
    assert_as_fresh(now, fresh, {moved.get(name, name) for name in written}, target)


@EVERY_START
def test_plain_copier_leaves_moved_files_and_their_edits_at_old_paths(
    archive: Path, target: str, team: Callable[..., Team], history: Path, tmp_path: Path
) -> None:
    """As documented in docs/upgrade.md."""
    folder, written = team(version(archive), target, tmp_path / "project")
    before = contents(folder)
    fresh = contents(render_version(history, tmp_path / "fresh", TODAY, target))
    left = before.keys() - fresh.keys()
    # 0.3.0 moved modules into folders, and 0.5.0 moved quality.py.
    assert moved_paths(MOVES, before, fresh).keys() & left
    update_by("copier", folder)
    now = contents(folder)
    assert (folder / PLAN).read_bytes() == PIXELS
    for name, lines in written.items():
        assert {*lines} <= {*now[name].splitlines()}, name
    assert {name: now[name] for name in left} == {name: before[name] for name in left}
    fresh |= {name: before[name] for name in before if name.startswith(OWNED)}
    # Imports changed by both sides conflict there; the file contains both.
    conflicts = {n for n in now if re.search("^<<<<<<< |^>>>>>>> ", now[n], re.MULTILINE)}
    assert conflicts <= {*written}
    assert_as_fresh(
        {n: now[n] for n in now if n not in conflicts}, fresh, {*written, *left}, target
    )


def assert_as_fresh(
    now: dict[str, str], fresh: dict[str, str], edited: set[str], target: str
) -> None:
    """Deleted files stay deleted, nothing conflicts, and unedited files equal a fresh render."""
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
    [
        (RELEASES[0], "hybrid"),
        pytest.param(RELEASES[-1], "cloud", marks=pytest.mark.matrix),
    ],
    ids=lambda value: value if isinstance(value, str) else version(value),
)
def test_an_upgraded_project_passes_its_own_tests(
    archive: Path,
    target: str,
    team: Callable[..., Team],
    history: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`make setup test` passes before the merge; once, with a real setup, `make model` does too.

    Two projects suffice, because unedited files equal those of a fresh render.
    """
    folder, _ = team(version(archive), target, tmp_path / "project")
    # If a stage imports a new module, the team has to run `make deps`.
    for name in ADDED_FILES:
        (folder / name).unlink()
    commit_files(folder)
    fresh = render_version(history, tmp_path / "fresh", TODAY, target)
    env = variables(folder, environment(requirements(fresh, "serve", "train", "dev")))
    is_whole = archive == RELEASES[0] and target == "hybrid"
    uv = shutil.which("uv", path=search_path())
    (tmp_path / "uv").write_text(f'#!/bin/sh\n[ "$1" = sync ] || exec {uv} "$@"\n')
    (tmp_path / "uv").chmod(0o755)
    shared = env | {"PYTHONPATH": "src", "PATH": f"{tmp_path}{os.pathsep}{env['PATH']}"}
    with monkeypatch.context() as patch:
        own = child_environment if is_whole else lambda: shared
        patch.setattr("poc2prod.update.child_environment", own)
        update_by("poc2prod", folder, test=True)
    if is_whole:
        quiet = subprocess.DEVNULL
        subprocess.run(["make", "model"], cwd=folder, env=env, check=True, stdout=quiet)


def test_every_release_in_the_change_log_has_an_archive() -> None:
    versions = re.findall(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sorted(versions) == sorted(path.name.removesuffix(".tar.gz") for path in RELEASES)


def test_every_path_of_a_release_exists_or_is_listed_as_moved_or_excluded(history: Path) -> None:
    """Plain Copier would delete other files, with the user's edits."""
    now, retired = release_paths(history, TODAY), excluded_paths()
    for archive in RELEASES:
        then = release_paths(history, version(archive))
        assert sorted(then - now - moved_paths(MOVES, then, now).keys() - retired) == []


def test_each_move_names_an_existing_old_and_new_path(history: Path) -> None:
    """The old path existed in the release before or in a later commit, the new path in its own."""
    names = [version(archive) for archive in RELEASES]
    ever = all_paths_in_git()
    for number, moves in yaml.safe_load((ROOT / MOVES_FILE).read_text()).items():
        place = names.index(f"v{number}") if f"v{number}" in names else len(names)
        after = release_paths(history, [*names, TODAY][place])
        before = release_paths(history, names[place - 1]) | ever
        assert sorted({*moves} - before) == [], number
        assert sorted({*moves.values()} - after) == [], number


def test_plain_copier_does_not_delete_moved_files(history: Path) -> None:
    """copier.yml excludes each old path, unless the template has a file there again."""
    now, old = release_paths(history, TODAY), {was for was, _ in MOVES}
    assert old - now - excluded_paths() == set()
    assert now & old & excluded_paths() == set()


def excluded_paths() -> set[str]:
    """Return the paths that copier.yml excludes for all answers."""
    (pattern,) = QUESTIONS.settings["_exclude"]
    everything = {"target": "hybrid", "uplink": "mqtt", "decider": "@someone"}
    text = QUESTIONS.text(pattern, everything)
    return {line.strip().removeprefix("/") for line in text.splitlines() if line.strip()}


def release_paths(history: Path, at: str) -> set[str]:
    """Return the paths that a release can render, with `*` for the package."""
    listing = git(history, "ls-tree", "-r", "-z", "--name-only", at, "template")
    return as_patterns(listing)


def all_paths_in_git() -> set[str]:
    """Return the paths of all commits; a shallow clone has only the last commit."""
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
