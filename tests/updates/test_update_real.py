"""`poc2prod update` from one version of the real template to the next."""

import shutil
from pathlib import Path

import yaml

from environment import ROOT, release
from repository import commit_files, git, write_files
from small_template import (
    ANSWERS,
    MARKS,
    Files,
    contents,
    expect_refusal,
    release_template,
    render_project,
    run,
    state,
)

pytestmark = MARKS


def test_updates_a_project_of_the_real_template(tmp_path: Path) -> None:
    source = release(tmp_path / "source")
    shutil.copy(ROOT / "CHANGELOG.md", source)
    git(tmp_path, "init", "--quiet", "source")
    release_template(source, {}, "v0.1.0")
    project = render_project(source, tmp_path / "mine", target="edge", modality="tabular")
    text = {name: (project / name).read_text() for name in ("scope.yaml", "README.md")}
    model = "src/scratch_detector/task/model.py"
    mine: Files = {
        "scope.yaml": text["scope.yaml"].replace("confidence: 0.95 #", "confidence: 0.99 #"),
        "README.md": "# Ours\n",
        model: "# ours\n" + (project / model).read_text(),
    }
    commit_files(project, mine)
    scope, ci = source / "template/scope.yaml.jinja", source / "template/.github/workflows/ci.yml"
    scope.write_text(scope.read_text().replace("max_leaks: 0 #", "max_leaks: 1 #"))
    ci.write_text(ci.read_text().replace("timeout-minutes: 30", "timeout-minutes: 45"))
    readme = source / "template/README.md.jinja"
    readme.write_text("A new introduction.\n" + readme.read_text())
    changes = (source / "CHANGELOG.md").read_text()
    news = "\n## 0.2.0\n\n- One leak is allowed, because the data contains one.\n\n## "
    write_files(source, {"CHANGELOG.md": changes.replace("\n## ", news, 1)})
    release_template(source, {}, "v0.2.0")
    before = state(project)
    status, words = run(project)
    assert status == 0, words
    assert state(project) == before
    assert "the data contains one" in words and "First light" not in words
    assert "Files you own, not updated though the template changed them:\n  README.md\n" in words
    assert "3 files changed" in words
    git(project, "merge", "--quiet", "--ff-only", "template/v0.2.0")
    scope_now = (project / "scope.yaml").read_text()
    assert "confidence: 0.99 #" in scope_now and "max_leaks: 1 #" in scope_now
    assert "timeout-minutes: 45" in (project / ".github/workflows/ci.yml").read_text()
    assert (project / "README.md").read_text() == "# Ours\n"
    status, words = run(project, "target=hybrid", "max_cost_usd_month=30", merge=True)
    assert status == 0, words
    assert (project / "src/scratch_detector/serving/app.py").is_file()
    assert (project / model).read_text().startswith("# ours\n")
    assert "confidence: 0.99 #" in (project / "scope.yaml").read_text()
    fresh = render_project(
        source, tmp_path / "fresh", **yaml.safe_load((project / ANSWERS).read_text())
    )
    different = {
        name
        for name in contents(project) | contents(fresh)
        if contents(project).get(name) != contents(fresh).get(name)
    }
    owned = {"README.md", "docs/decisions/0001-scope.md", "prices.yaml", model}
    assert different == {"scope.yaml", *owned}
    assert "package_name: got 'x'; derived from other answers" in expect_refusal(
        project, "package_name=x"
    )
