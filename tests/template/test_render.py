"""Every render, checked with the tools that its users will run."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from conftest import NINE, QUESTIONS, Render
from environment import environment, requirements, search_path, variables

CI = ["ci", "drift", "release", "train"]
DISTRIBUTIONS = {  # of modules with another name, or installed by another distribution
    "PIL": "pillow",
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
    "paho": "paho-mqtt",
    "pydantic_core": "pydantic",
    "ai_edge_litert": "litert-torch",
}
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def run(command: list[str], folder: Path, variables: dict[str, str] | None = None) -> str:
    """Return the output of a command, which must succeed."""
    env = variables or {"PATH": search_path()}
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
    return result.stdout + result.stderr


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_every_file_is_fully_rendered(each: Path) -> None:
    for path in files(each):
        text = path.read_text()
        # Pages in src/ are Jinja templates of the project; Copier copies them unchanged.
        is_page = path.suffix in (".html", ".md") and path.is_relative_to(each / "src")
        left = r"\{\{=|^# \?" if is_page else r"\{\{=|\{%|^# \?"
        assert not re.search(left, text, re.M), f"Jinja is left in {path}"
        assert text.endswith("\n") and not text.endswith("\n\n") and "\r" not in text, path
    assert all(any(path.iterdir()) for path in each.rglob("*") if path.is_dir())


def test_every_config_file_parses(each: Path) -> None:
    for path in files(each):
        if path.suffix in (".yml", ".yaml"):
            assert yaml.safe_load(path.read_text())
        elif path.suffix == ".toml":
            assert tomllib.loads(path.read_text())
        elif path.suffix == ".json":
            assert json.loads(path.read_text())


def test_every_make_target_is_phony(each: Path) -> None:
    text = (each / "Makefile").read_text().replace("\\\n", " ")
    phony = " ".join(re.findall(r"^\.PHONY:(.*)", text, re.MULTILINE)).split()
    assert sorted(phony) == sorted(re.findall(r"^([a-z-]+):", text, re.MULTILINE))


def test_nothing_rendered_is_ignored_by_git(each: Path, tmp_path: Path) -> None:
    """Copier overwrites ignored files without a warning."""
    run(["git", "init", "-q", str(tmp_path)], tmp_path)
    names = [path.relative_to(each).as_posix() for path in files(each)]
    for ignore in each.rglob(".gitignore"):
        copy = tmp_path / ignore.relative_to(each)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(ignore.read_text())
    check = ["git", "check-ignore", "--stdin"]
    found = subprocess.run(
        check, cwd=tmp_path, input="\n".join(names), capture_output=True, text=True
    )
    assert found.stdout == ""


def test_python_is_formatted_linted_and_typed(each: Path) -> None:
    folder = environment(requirements(each, "serve", "train", "dev"))
    for command in (["ruff", "format", "--check"], ["ruff", "check"], ["mypy"]):
        run(command, each, variables(each, folder))


def imported_modules(path: Path) -> set[str]:
    """Return the top-level modules that a file imports from installed packages."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
    names = {name.partition(".")[0] for name in found}
    return (
        names
        - sys.stdlib_module_names
        - {"scratch_detector"}
        - {p.stem for p in path.parent.iterdir()}
    )


def undeclared_packages(folder: Path) -> set[str]:
    """Return imported packages that no group of `pyproject.toml` declares."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    extras = project["project"].get("optional-dependencies", {})
    groups = [project["project"]["dependencies"], *extras.values()]
    groups += project["dependency-groups"].values()
    declared = {re.split(r"[^\w-]", wanted)[0] for group in groups for wanted in group}
    used = set().union(*map(imported_modules, folder.rglob("*.py")))
    return {DISTRIBUTIONS.get(name, name.replace("_", "-")) for name in used} - declared


def test_imported_packages_are_declared(each: Path, tmp_path: Path) -> None:
    assert undeclared_packages(each) == set()
    shutil.copytree(each, tmp_path / "repo")
    (tmp_path / "repo/src/scratch_detector/more.py").write_text("def f():\n    import tqdm.auto\n")
    assert undeclared_packages(tmp_path / "repo") == {"tqdm"}


@pytest.mark.parametrize("project", ["xyz", "a-name-of-exactly-thirty-chars"])
@pytest.mark.parametrize(("modality", "target"), [NINE[2], NINE[5], NINE[8]])
def test_the_format_does_not_depend_on_the_project_name(
    project: str, modality: str, target: str, render: Render
) -> None:
    folder = render(project_name=project, modality=modality, target=target)
    run(["ruff", "format", "--check"], folder)
    run(["ruff", "check"], folder)


def test_yaml_passes_yamllint(each: Path) -> None:
    rules = "{extends: default, rules: {document-start: disable, line-length: {max: 110}, truthy: "
    rules += "{check-keys: false}, comments: {min-spaces-from-content: 1}}}"
    run(["yamllint", "-s", "-d", rules, "."], each)


def test_workflows_are_valid_safe_and_only_call_make(each: Path) -> None:
    workflows = sorted((each / ".github" / "workflows").glob("*.yml"))
    answers = yaml.safe_load((each / ".copier-answers.yml").read_text())
    has_ci = answers["ci"] == "github"
    is_trained = answers["framework"] != "onnx"
    names = [name for name in CI if name != "train" or is_trained]
    assert [path.stem for path in workflows] == names * has_ci
    assert (each / ".github").exists() == has_ci
    if not has_ci:
        return
    run(["check-jsonschema", "--builtin-schema", "github-workflows", *map(str, workflows)], each)
    run(["zizmor", "--offline", "--quiet", "--pedantic", ".github/workflows"], each)
    targets = set(re.findall(r"^([a-z-]+):", (each / "Makefile").read_text(), re.M))
    for path in workflows:
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            commands = [step["run"] for step in job["steps"] if "run" in step]
            assert commands and all(c.removeprefix("make ") in targets for c in commands)
        used = [line for line in path.read_text().splitlines() if "uses:" in line]
        assert used and all(PINNED.search(line) for line in used)


def test_dockerfile_and_spelling(each: Path) -> None:
    dockerfile = each / "deploy" / "Dockerfile"
    assert dockerfile.exists() == (each / "src/scratch_detector/serving/app.py").exists()
    if dockerfile.exists():
        run(["hadolint", "--ignore", "DL3042", str(dockerfile)], each)
    run(["codespell", "."], each)


def test_make_without_a_target_prints_help(each: Path) -> None:
    printed = run(["make"], each)
    wanted = {"setup", "model", "test", "card", "upgrade", "verify", "monitor"}
    wanted |= {"serve"} if (each / "src/scratch_detector/serving/app.py").exists() else {"edge"}
    assert wanted <= set(re.findall(r"^  ([a-z-]+) ", printed, re.M))


def test_every_link_in_the_documents_exists(each: Path) -> None:
    for path in [*each.glob("*.md"), *(each / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
            if not target.startswith("http") and target not in WRITTEN_LATER:
                assert (path.parent / target).exists(), f"{path}: {target}"


WRITTEN_LATER = {"docs/card.md", "reports/report.html"}

UNASKED = {
    "max_slice_gap": 0.05,
    "baseline": "majority",
    "min_gain_over_baseline": 0.02,
    "max_int8_drop": 0.01,
    "buy_usd_month": 300,
    "data_source": "../photos",
    "not_for": "medical diagnosis",
    "max_model_mb": 15,
}
ASKED = {"min_metric": 0.1, "max_cost_usd_month": 500, "peak_requests_per_s": 3}


def count_defaults(folder: Path) -> int:
    """Count the marked values in the decision record; the first mark explains the others."""
    return (folder / "docs/decisions/0001-scope.md").read_text().count(" *(default)*") - 1


@pytest.mark.parametrize("name", UNASKED)
def test_the_decision_record_marks_a_value_that_was_not_asked(name: str, render: Render) -> None:
    assert not QUESTIONS.is_asked(name, QUESTIONS.settle({})[0])
    assert count_defaults(render(**{name: UNASKED[name]})) == len(UNASKED) - 1


def test_the_decision_record_marks_no_other_value(render: Render) -> None:
    assert count_defaults(render()) == len(UNASKED)
    assert count_defaults(render(**ASKED)) == len(UNASKED)
