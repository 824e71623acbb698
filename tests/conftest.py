"""Fixtures: hermetic renders, made in this process once per set of answers."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import server
from environment import exclusive_lock, release
from pairs import make_pairwise
from poc2prod.questions import Questions
from rendering import cache_compiled_templates, render_to
from repository import done, run_in

ROOT = Path(__file__).parent.parent
MODALITIES = ("image", "audio", "tabular")
TARGETS = ("cloud", "edge", "hybrid")
QUESTIONS = Questions.read(ROOT)
NINE = [(modality, target) for modality in MODALITIES for target in TARGETS]
MOST = {"modality": "tabular"}  # with a table, most choices are valid
OPTIONS: dict[str, list[Any]] = {  # all choices, and texts that switch files on or off
    name: [value for _, value in QUESTIONS.choices(name, QUESTIONS.settle(MOST, until=name)[0])]
    for name in QUESTIONS.specs
    if QUESTIONS.specs[name].get("choices")
} | {
    "decider": ["", "@team/leads"],
    "data_owner": ["", "ana@example.com"],
    "export_formats": ["", "executorch, litert, coreml, openvino"],
}
# What fits another type of answer, instead of a choice for one label.
FITTING: dict[str, dict[str, str]] = {
    "classification": {},
    "multilabel": {"accuracy": "macro_f1", "macro_recall": "mean_ap", "majority": "shares"},
    "regression": {"accuracy": "mae", "macro_f1": "wape", "macro_recall": "pinball"}
    | {"majority": "mean"},
    "forecast": {"accuracy": "wape", "macro_f1": "mase", "macro_recall": "mae"}
    | {"majority": "seasonal_naive"},
}


def fit_answers(row: dict[str, Any]) -> dict[str, Any]:
    """Replace the choices that do not fit the problem or the framework."""
    fitting = FITTING[row["problem"]]
    row = {name: fitting.get(value, value) for name, value in row.items()}
    if row["problem"] == "forecast":
        row["modality"] = "tabular"
    is_table = row.get("modality", "image") == "tabular"
    has_trees = is_table and row["problem"] in ("classification", "regression")
    if row.get("framework") == "trees" and not has_trees:
        row["framework"] = "pytorch"
    if row.get("export_formats"):
        formats = {"onnx": "openvino", "keras": "openvino", "trees": ""}
        row["export_formats"] = formats.get(row.get("framework", ""), row["export_formats"])
    return row


# Trees and forecasts are for tables; trees have one label or a number.
NOT_OFFERED = {
    frozenset(pair)
    for pair in (
        ("image", "trees"),
        ("audio", "trees"),
        ("multilabel", "trees"),
        ("image", "forecast"),
        ("audio", "forecast"),
        ("forecast", "trees"),
    )
}
PAIRWISE = [fit_answers(row) for row in make_pairwise(OPTIONS, NOT_OFFERED)]
FIRST = {(row["modality"], row["target"]): row for row in reversed(PAIRWISE)}
EACH = [
    pytest.param(
        row,
        marks=[] if row in FIRST.values() else pytest.mark.matrix,
        id="-".join(map(str, row.values())),
    )
    for row in PAIRWISE
]
LONGEST = (  # a minute or more each; started first, so that no process is idle at the end
    "test_untouched_render_runs_end_to_end",
    "test_an_upgraded_project_passes_its_own_tests",
    "test_each_fault_is_delivered_and_resolved",
    "test_drift_is_delivered_and_triggers_retraining",
    "test_setup_installs_everything_once",
)
pytest_plugins = ["small_template", "situations"]  # fixtures, and rewritten asserts
Render = Callable[..., Path]
Shared = Callable[[str, Path, Callable[[Path], None]], Path]
os.environ["POC2PROD_CPU_INDEX"] = ""  # answers must not depend on the network of a machine
# A suite started in the background ignores Ctrl-C, and its child processes would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.name.partition("[")[0] not in LONGEST)


@pytest.fixture(scope="session", autouse=True)
def hermetic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Isolate renders from the settings of the developer who runs the tests."""
    folder = tmp_path_factory.mktemp("settings")
    (folder / "copier.yml").write_text("{}\n")
    (folder / "git").write_text("[user]\n\tname = Test\n\temail = test@example.com\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COPIER_SETTINGS_PATH", str(folder / "copier.yml"))
        patch.setenv("COPIER_CACHE_DIR", str(folder / "cache"))
        patch.setenv("GIT_CONFIG_GLOBAL", str(folder / "git"))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        with cache_compiled_templates():
            yield


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as in a release: tracked and new files, without `.git`."""
    return release(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="session")
def render(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Render once per set of answers; the result is read-only."""
    cache: dict[str, Path] = {}

    def once(**answers: Any) -> Path:
        key = "-".join(f"{name}={value}" for name, value in sorted(answers.items()))
        if key not in cache:
            cache[key] = render_to(tmp_path_factory.mktemp("render") / "repo", source, answers)
        return cache[key]

    return once


@pytest.fixture(params=EACH)
def each(request: pytest.FixtureRequest, render: Render) -> Path:
    """Renders that together cover every pair of choices, and so each modality with each target.

    Every day, one of each modality with each target.
    """
    return render(**request.param)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Make a project once for all test processes; the result is read-only."""
    base = tmp_path_factory.getbasetemp()
    top = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, start: Path, make: Callable[[Path], None]) -> Path:
        folder = top / name / "repo"
        with exclusive_lock(top / f"{name}.lock"):
            if not (top / f"{name}.done").exists():
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(start, folder, symlinks=True)
                make(folder)
                (top / f"{name}.done").touch()
        return folder

    return once


@pytest.fixture(scope="session")
def built(render: Render, shared: Shared) -> Path:
    """A project with data and features, in a git repository without commits."""

    def make(folder: Path) -> None:
        done(run_in(folder, "git", "init", "-q", "-b", "main"))
        done(run_in(folder, "uv", "run", "dvc", "repro", "featurize"))

    return shared("built", render(modality="tabular", target="cloud"), make)


@pytest.fixture(scope="session")
def modelled(built: Path, shared: Shared) -> Path:
    """The project of `built` with a model that meets its limits, trained in one process."""
    code = "from scratch_detector.cli import STAGES, run; [run(n) for n in [*STAGES[3:], 'card']]"
    return shared("modelled", built, lambda folder: done(run_in(folder, "python", "-c", code)))


@pytest.fixture(scope="session")
def released(modelled: Path, shared: Shared) -> Path:
    """The project of `modelled` with a champion to serve, and one example payload."""

    def make(folder: Path) -> None:
        server.command(folder, "example")
        server.release(folder)

    return shared("released", modelled, make)


@pytest.fixture(scope="session")
def deployable(render: Render, shared: Shared) -> Path:
    """A device project with a model that meets its limits and everything `make deb` needs."""

    def make(folder: Path) -> None:
        done(run_in(folder, "git", "init", "-q", "-b", "main"))
        for command in ("make model", "make example", "uv lock --quiet"):
            done(run_in(folder, *command.split()))

    return shared("deployable", render(modality="image", target="edge"), make)
