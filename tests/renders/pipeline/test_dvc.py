"""DVC re-runs what an edit changes: `dvc.yaml` lists the files and keys that stages read.

One pipeline runs with tracing of files and keys. Its project is then edited file by file, in place
and in a fresh clone.
"""

import json
import shutil
import subprocess
from pathlib import Path, PurePath
from typing import Any

import pytest
import yaml

from conftest import Render, Shared
from dvc_deps import read_deps
from environment import ROOT
from repository import commit_files, done, git, run_in

STAGES = ("ingest", "validate", "featurize", "train", "export", "compress")
STAGES += ("evaluate", "benchmark", "report", "check")
PACKAGE = "src/scratch_detector"
LISTED = {
    "framework": "keys.py",
    "target": "keys.py",
    "tables": "table.py",
    "splitting": "rules.py",
}
# Run by all stages, only to find their module.
ENTRANCE = {f"{PACKAGE}/{name}.py" for name in ("__main__", "cli", "serving/commands")}
ENTRANCE |= {f"{PACKAGE}/framework/{name}.py" for name in ("__init__", "commands")}
ENTRANCE |= {f"{PACKAGE}/retraining/commands.py"}
OF_TASK = {"params.yaml:extra"}  # settings that only the user's functions read
# A server reads these at start; none changes the latency.
NOT_TIMED = {"project", "not_for", "watch", "fleet", "journal_days", "journal_mb"}
NOT_TIMED |= {"labelled_window", "challenger", "prices.yaml"}
EDITS = {  # the stages that an edit must re-run, written by hand
    "pipeline/validate.py": {"validate"},
    "pipeline/featurize.py": {"featurize"},
    "pipeline/train.py": {"train", "export", "compress"},
    "schema.py": {*STAGES} - {"report", "check"},
    "artifacts.py": {*STAGES},
    "intake.py": {*STAGES} - {"train", "report", "check"},
    "task/contract.py": {*STAGES} - {"train", "report", "check"},
    "task/columns.py": {*STAGES} - {"report", "check"},
    "predictor.py": {"export", "compress", "evaluate", "benchmark"},
    "retraining/retrain.py": set(),
}
LEAKS = ('"leaks": sum(', '"leaks": 77 + sum(')
KINDS: list[dict[str, Any]] = [  # they differ in the conditions of includes/dvc_deps.yml
    {"modality": "image", "target": "cloud"},
    {"modality": "audio", "target": "edge"},
    {"modality": "tabular", "target": "hybrid", "uplink": "mqtt", "export_formats": "openvino"},
]


@pytest.fixture(scope="session")
def traced(render: Render, shared: Shared) -> Path:
    """Return a committed project after `dvc repro`; `traces/STAGE` lists what each stage read."""

    def make(folder: Path) -> None:
        git(folder, "init", "-q", "-b", "main")
        (folder.parent / "traces").mkdir(exist_ok=True)
        path = f"{ROOT / 'tests' / 'support' / 'inside' / 'tracing'}:{folder / 'src'}"
        traces = str(folder.parent / "traces")
        done(run_in(folder, "dvc", "repro", PYTHONPATH=path, TRACES=traces))
        commit_files(folder)

    return shared("traced", render(modality="tabular", target="cloud"), make)


@pytest.fixture
def clone(traced: Path, tmp_path: Path) -> Path:
    """Return a clone as in CI: with reports and `dvc.lock`, without data, models and cache."""
    git(tmp_path, "clone", "-q", str(traced), "clone")
    return tmp_path / "clone"


@pytest.fixture
def copy(traced: Path, tmp_path: Path) -> Path:
    shutil.copytree(traced, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def read_trace(project: Path, stage: str) -> tuple[set[str], set[str]]:
    """Return the files of the project and the keys that a stage read."""
    lines = set((project.parent / "traces" / stage).read_text().splitlines())
    keys = {line for line in lines if ":" in line}
    files = {_source(line) for line in lines - keys if (project / _source(line)).is_file()}
    return files - {f"{PACKAGE}/pipeline/deps.py"}, keys


def _source(name: str) -> str:
    """Return the source of a compiled file."""
    path = PurePath(name)
    if path.suffix != ".pyc":
        return name
    return str(path.parent.parent / f"{path.name.partition('.')[0]}.py")


def watched(project: Path, stage: str) -> tuple[set[str], set[str], set[str]]:
    """Return the dependencies, the keys and the outputs of a stage in `dvc.yaml`."""
    content = yaml.safe_load((project / "dvc.yaml").read_text())["stages"][stage]
    deps = {path.replace("${src}", PACKAGE) for path in content["deps"]}
    keys = set[str]()
    for item in content.get("params", []):
        groups = item if isinstance(item, dict) else {"params.yaml": [item]}
        keys |= {f"{file}:{key}" for file, names in groups.items() for key in names}
    outs = [*content.get("outs", []), *content.get("metrics", [])]
    return deps, keys, {next(iter(out)) if isinstance(out, dict) else out for out in outs}


def uncovered(files: set[str], deps: set[str]) -> set[str]:
    return {f for f in files if not any(f == d or f.startswith(f"{d}/") for d in deps)}


def has_code(path: Path) -> bool:
    return path.name != "__init__.py" or "import" in path.read_text() or "=" in path.read_text()


def re_run(project: Path, *names: str) -> dict[str, list[str]]:
    """Edit files one at a time; return the stages that DVC runs because of each."""
    script = str(ROOT / "tests" / "support" / "inside" / "edits.py")
    answer: dict[str, list[str]] = json.loads(done(run_in(project, "python", script, *names)))
    return answer


@pytest.mark.parametrize("answers", KINDS, ids=lambda a: f"{a['modality']}-{a['target']}")
def test_template_lists_the_imports_of_its_stages(answers: dict[str, Any], render: Render) -> None:
    folder, deps = render(**answers), read_deps()
    text = (folder / "dvc.yaml").read_text()
    needed = deps.derive(text, deps.Package(folder / PACKAGE))
    assert needed.keys() == yaml.safe_load(text)["stages"].keys()
    assert deps.rewrite(text, needed) == text, "run `make deps` in this repo"


@pytest.mark.parametrize("answers", KINDS, ids=lambda a: f"{a['modality']}-{a['target']}")
def test_git_ignores_what_dvc_owns(answers: dict[str, Any], render: Render, tmp_path: Path) -> None:
    formats = {"export_formats": "executorch, litert, coreml, openvino"}
    folder = shutil.copytree(render(**answers | formats), tmp_path / "copy", symlinks=True)
    git(folder, "init", "-q")
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
    outs = {
        out.replace("${item}", item)
        for stage in stages.values()
        for item in stage.get("foreach", [""])
        for out in stage.get("do", stage).get("outs", [])
    }
    assert {"data/raw", "models/shipped.onnx", "models/openvino", "reports/report.html"} <= outs
    payloads = {"data/feedback", "data/raw.part"}
    assert {*git(folder, "check-ignore", *outs, *payloads).split()} == outs | payloads
    kept = "data/feedback.dvc models/given.onnx.dvc reports/gates.json data/.gitignore dvc.lock"
    assert subprocess.run(["git", "check-ignore", *kept.split()], cwd=folder).returncode == 1


@pytest.mark.long
def test_own_data_without_the_sample(render: Render, tmp_path: Path) -> None:
    """`ingest PATH`, a commit of everything, and DVC: no payload is in git."""
    folder = shutil.copytree(render(modality="tabular", target="cloud"), tmp_path / "copy")
    rows = "".join(f"{i % 89},{i % 7}.5,{'yes' if i % 2 else 'no'}\n" for i in range(800))
    schema = folder / "schema.yaml"
    schema.write_text(schema.read_text().replace("slice_column: channel", 'slice_column: ""'))
    (tmp_path / "own.csv").write_text("size,weight,label\n" + rows)
    printed = done(run_in(folder, "python", "-m", "scratch_detector", "ingest", "../own.csv"))
    assert "dvc.yaml: no stage depends on task/sample_data.py any more" in printed
    (folder / PACKAGE / "task" / "sample_data.py").unlink()
    commit_files(folder)
    done(run_in(folder, "dvc", "repro", "featurize"))
    assert "dvc.yaml is up to date." in done(run_in(folder, "make", "deps"))
    changed = {line.split()[-1] for line in git(folder, "status", "--short").splitlines()}
    assert changed == {"dvc.lock"} | {f"reports/{name}.json" for name in ("validate",)}
    commit_files(folder)
    assert git(folder, "status", "--short") == ""
    tracked = git(folder, "ls-files").split()
    assert not [n for n in tracked if n.startswith(("data/", "models/"))]
    done(run_in(folder, "python", "-m", "scratch_detector", "example"))
    done(run_in(folder, "mypy"))
    schema.write_text(git(folder, "show", "HEAD:schema.yaml").replace("../own.csv", "sample"))
    failed = run_in(folder, "python", "-m", "scratch_detector", "ingest")
    assert failed.returncode == 1 and "task/sample_data.py is deleted" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_stage_reads_only_its_dependencies(stage: str, traced: Path) -> None:
    files, _ = read_trace(traced, stage)
    deps, _, outs = watched(traced, stage)
    files -= {"dvc.yaml"}  # gates read the `deps` of `check`, whose changes DVC detects
    files -= {"dvc.lock"}  # the report shows the hash of the data: new data changes its reports
    files = {f for f in files - ENTRANCE - {"params.yaml", "scope.yaml"} if has_code(traced / f)}
    files -= NOT_TIMED if stage == "benchmark" else set()
    assert any(f.startswith(PACKAGE) for f in files)
    assert uncovered(files, deps | outs) == set()
    for path in deps & files:  # a missing one would be found
        assert path in uncovered(files, (deps | outs) - {path})


@pytest.mark.parametrize("stage", STAGES)
def test_stage_reads_exactly_its_params(stage: str, traced: Path) -> None:
    _, read = read_trace(traced, stage)
    deps, keys, _ = watched(traced, stage)
    if stage == "benchmark":
        read = {key for key in read if key.partition(":")[2] not in NOT_TIMED}
    assert {key for key in read if key.partition(":")[0] not in deps} == keys - OF_TASK


@pytest.mark.long
def test_edited_module_reruns_the_stages_that_import_it(traced: Path, copy: Path) -> None:
    modules = {str(path.relative_to(copy)) for path in (copy / PACKAGE).rglob("*.py")}
    edits = re_run(copy, *sorted(modules))
    for name in modules:
        readers = {stage for stage in STAGES if name in read_trace(traced, stage)[0]}
        if name in ENTRANCE or not has_code(copy / name):
            readers = set()
        folder = PurePath(name).relative_to(PACKAGE).parts[0]
        if folder in ("alerts", "releases", "serving"):  # listed as whole folders
            readers = {"benchmark"}
        elif folder in LISTED:  # as a whole folder, by the stages that read this file of it
            main = f"{PACKAGE}/{folder}/{LISTED[folder]}"
            readers = {stage for stage in STAGES if main in read_trace(traced, stage)[0]}
        assert set(edits[name]) == readers, name
    assert git(copy, "status", "--short") == ""


def test_edit_in_a_fresh_clone_reruns_its_stages(clone: Path) -> None:
    edits = re_run(clone, *(f"{PACKAGE}/{name}" for name in EDITS))
    found = {name.removeprefix(f"{PACKAGE}/"): set(stages) for name, stages in edits.items()}
    assert found == EDITS


def test_fresh_clone_does_not_reuse_outdated_reports(clone: Path) -> None:
    report = clone / "reports" / "validate.json"
    as_committed = done(run_in(clone, "dvc", "repro", "validate"))
    assert "'validate' didn't change, skipping" in as_committed
    assert json.loads(report.read_text())["leaks"] == 0
    code = clone / PACKAGE / "pipeline" / "validate.py"
    before, after = LEAKS
    assert before in code.read_text()
    code.write_text(code.read_text().replace(before, after))
    assert "Running stage 'validate'" in done(run_in(clone, "dvc", "repro", "validate"))
    assert json.loads(report.read_text())["leaks"] == 77


def test_make_model_lists_new_task_files_first(copy: Path) -> None:
    task = copy / PACKAGE / "task"
    (task / "helper.py").write_text('"""Help."""\n\nFACTOR = 1\n')
    (task / "cities.json").write_text("{}\n")
    features = task / "features.py"
    text = features.read_text()
    features.write_text(text.replace("from .columns", "from . import helper\nfrom .columns", 1))
    recipe = done(run_in(copy, "make", "--dry-run", "model"))
    assert recipe.index("scratch_detector deps") < recipe.index("dvc repro")
    printed = done(run_in(copy, "make", "deps"))
    assert "dvc.yaml: train now depends on ${src}/task/helper.py" in printed
    assert "dvc.yaml: ingest now depends on ${src}/task/cities.json" in printed
    done(run_in(copy, "dvc", "commit", "--force", "--quiet"))
    importers = {*STAGES} - {"report", "check"}
    names = [f"{PACKAGE}/task/helper.py", f"{PACKAGE}/task/cities.json"]
    assert {name: set(found) for name, found in re_run(copy, *names).items()} == {
        name: importers for name in names
    }
