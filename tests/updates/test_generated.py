"""Files that a command of the project generates: an update takes the template's side."""

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import copier
import pytest
import yaml
from rich.console import Console

from conftest import ROOT
from environment import environment, release, requirements, variables
from everyday import every_nth
from poc2prod.moves import GENERATED, read_generated
from poc2prod.refusal import Refusal
from poc2prod.update import update
from repository import commit_files, done, run_in, write_files

ARCHIVE = ROOT / "tests/updates/releases/0.3.0.tar.gz"
OLD, TODAY = "v0.3.0", "v99.0.0"
RULES = {"alerts/server.yml": "server-alerts.yml", "alerts/fleet.yml": "fleet-alerts.yml"}
EDITS = {"max_idle_s: 3600": "max_idle_s: 1800", "max_silence_s: 300": "max_silence_s: 120"}


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of the template with release 0.3.0 and the current state."""
    folder = tmp_path_factory.mktemp("history") / "template"
    folder.mkdir()
    with tarfile.open(ARCHIVE) as content:
        content.extractall(folder, filter="data")
    commit_files(folder, tag=OLD)
    for path in folder.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    release(folder)
    commit_files(folder, tag=TODAY)
    return folder


@pytest.fixture(scope="module")
def project(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of 0.3.0 with changed limits, which `make alerts` has written into its rules."""
    folder = tmp_path_factory.mktemp("project") / "project"
    answers = {"target": "hybrid", "modality": "tabular"}
    copier.run_copy(str(history), folder, answers, vcs_ref=OLD, defaults=True, quiet=True)
    commit_files(folder)
    scope = folder / "scope.yaml"
    for old, new in EDITS.items():
        assert old in scope.read_text()
        scope.write_text(scope.read_text().replace(old, new))
    place = environment(requirements(folder, "serve", "train", "dev"))
    command, env = ["python", "-m", "scratch_detector", "alerts"], variables(folder, place)
    done(subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True))
    assert "1800s" in (folder / "deploy/server-alerts.yml").read_text()
    assert "> 120.0" in (folder / "deploy/fleet-alerts.yml").read_text()
    return commit_files(folder)


def run_update(folder: Path) -> tuple[int, str]:
    console = Console(file=io.StringIO(), width=100)
    options = {"to": None, "answers": [], "template": None, "dry_run": False}
    status = update(folder, console, **options, test=False, merge=True)
    return status, console.file.getvalue()


@pytest.mark.parametrize("route", every_nth(2, ["poc2prod", "copier"]))
def test_generated_rules_cause_no_conflict(
    route: str, project: Path, history: Path, tmp_path: Path
) -> None:
    folder, fresh = tmp_path / "project", tmp_path / "fresh"
    shutil.copytree(project, folder)
    before = {name: (folder / "deploy" / name).read_text() for name in RULES.values()}
    if route == "copier":
        words = ["update", "--defaults", "--context-lines", "1000000", "--quiet"]
        subprocess.run([sys.executable, "-m", "copier", *words], cwd=folder, check=True)
        # Copier keeps files that the new version no longer contains.
        assert all((folder / "deploy" / name).read_text() == before[name] for name in before)
    else:
        status, output = run_update(folder)
        assert status == 0, output
        assert "Generated files, replaced or deleted by the template:" in output
        assert all(f"  deploy/{name}\n" in output for name in before)
        assert not [name for name in before if (folder / "deploy" / name).exists()]
        # The project keeps its own task/, which imports less of the package than a new one.
        words = ["-m", "pytest", "-q", "tests/test_dvc.py", "-k", "its_imports or unneeded"]
        done(run_in(folder, "python", *words))
    answers = {"target": "hybrid", "modality": "tabular"}
    copier.run_copy(str(history), fresh, answers, vcs_ref=TODAY, defaults=True, quiet=True)
    for name in [*RULES, "prometheus.yml", "compose.yaml"]:
        assert (folder / "deploy" / name).read_text() == (fresh / "deploy" / name).read_text()
    config = yaml.safe_load((folder / "deploy/prometheus.yml").read_text())
    assert config["rule_files"] == [*RULES], "Prometheus must not load the old rules"
    assert all(new in (folder / "scope.yaml").read_text() for new in EDITS.values())
    marked = [p.name for p in folder.rglob("*.y*ml") if "<<<<<<< " in p.read_text()]
    # Plain Copier cannot merge a changed comment next to a changed limit.
    assert marked == (["scope.yaml"] if route == "copier" else [])


def test_without_the_list_generated_rules_are_in_conflict(
    project: Path, history: Path, tmp_path: Path
) -> None:
    shutil.copytree(history, tmp_path / "template")
    commit_files(tmp_path / "template", {GENERATED: None}, tag="v99.0.1")
    folder = tmp_path / "project"
    shutil.copytree(project, folder)
    answers = (folder / ".copier-answers.yml").read_text()
    answers = answers.replace(str(history), str(tmp_path / "template"))
    commit_files(folder, {".copier-answers.yml": answers})
    status, output = run_update(folder)
    assert status == 1
    for name in RULES.values():
        assert f"deploy/{name}: changed by you, deleted by the template" in output


@pytest.mark.parametrize("text", ["- [", "deploy/rules.yml: x", "- ../rules.yml", "- 1"])
def test_rejects_an_invalid_list_of_generated_files(text: str, tmp_path: Path) -> None:
    write_files(tmp_path, {GENERATED: text})
    with pytest.raises(Refusal, match=f"the template's {GENERATED} is "):
        read_generated(tmp_path)
    assert read_generated(tmp_path / "none") == []
