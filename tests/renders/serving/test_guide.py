"""docs/serving.md names only commands, variables, files and alerts that exist."""

import re
from pathlib import Path

import pytest
import yaml

from conftest import Render
from repository import done, run_in

GUIDE = "docs/serving.md"


@pytest.fixture(scope="module", params=["cloud", "hybrid"])
def project(request: pytest.FixtureRequest, render: Render) -> Path:
    return render(modality="tabular", target=request.param)


@pytest.fixture(scope="module")
def guide(project: Path) -> str:
    return (project / GUIDE).read_text()


def test_make_targets_exist(project: Path, guide: str) -> None:
    targets = set(re.findall(r"(?m)^([a-z]+):", (project / "Makefile").read_text()))
    commands = "\n".join(re.findall(r"(?m)^\$ [^#\n]*|`[^`\n]+`", re.sub("```.*", "", guide)))
    lines = re.findall(r"make ((?:[a-z]+ ?)+)", commands)
    named = {target for line in lines for target in line.split()}
    assert {"serve", "load", "release", "promote"} <= named <= targets


def test_environment_variables_exist(project: Path, guide: str) -> None:
    settings = done(run_in(project, "python", "-m", "scratch_detector", "settings"))
    named = set(re.findall(r"SCRATCH_DETECTOR_\w+", guide))
    assert named and named <= set(re.findall(r"SCRATCH_DETECTOR_\w+", settings))


def test_linked_headings_and_files_exist(project: Path, guide: str) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)(?:#([^)]+))?\)", guide)
    assert len(links) >= 4
    for page, anchor in links:
        headings = re.findall(r"(?m)^## (.+)$", (project / "docs" / page).read_text())
        assert not anchor or anchor in {h.lower().replace(" ", "-") for h in headings}, anchor
    files = set(re.findall(r"deploy/[\w./-]+\w", guide)) - {"deploy/.env"}
    files -= {"deploy/secrets", "deploy/secrets/server", "deploy/secrets/server/api_keys"}  # yours
    assert [file for file in files if not (project / file).exists()] == []
    modules = re.findall(r"`((?:serving/)?\w+\.py)`", guide)
    package = project / "src/scratch_detector"
    assert len(modules) >= 7 and all((package / module).exists() for module in modules)


def test_every_alert_is_listed(project: Path, guide: str) -> None:
    groups = yaml.safe_load((project / "deploy/alerts/server.yml").read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    table = guide.partition("| alert |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([A-Z]\w+)`", table)) == alerts


def test_an_edge_project_has_no_guide_to_a_server(render: Render) -> None:
    assert not (render(modality="tabular", target="edge") / GUIDE).exists()
