"""Documents, of this repo and of each kind of project: links lead somewhere, commands exist."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urldefrag

import pytest
import yaml

from conftest import ROOT, Render

KINDS: dict[str, dict[str, str]] = {
    "cloud": {"target": "cloud"},
    "edge": {"target": "edge", "modality": "audio"},
    "hybrid": {"target": "hybrid", "modality": "tabular", "uplink": "mqtt"},
    "formats": {"target": "cloud", "export_formats": "openvino", "ci": "none"},
    "given": {"target": "hybrid", "framework": "onnx"},
    "trees": {"target": "cloud", "framework": "trees", "modality": "tabular"},
    "keras": {"target": "cloud", "framework": "keras", "modality": "audio"},
    "lightning": {"target": "edge", "framework": "lightning", "problem": "multilabel"},
    "given, number": {"target": "cloud", "framework": "onnx", "problem": "regression"},
    "series": {"target": "hybrid", "modality": "tabular", "problem": "forecast"},
}
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
# Written by `make model`, `make release`, a server or a device; a fresh project has none of them.
WRITTEN = ("data", "models", "reports", "releases", "repository", "keys", "dist", "uv.lock")
WRITTEN_DOCS = ("docs/card.md",)
BROUGHT = ("task/model.onnx", "task/model.keras")  # the user copies it there


def find_pages(folder: Path) -> list[Path]:
    """The Markdown files that git tracks or would track below a folder of this repo."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z", "*.md"]
    names = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    return [folder / name for name in names.split("\0") if name and (folder / name).exists()]


def anchors(page: Path) -> set[str]:
    """The anchors of a page, as GitHub derives them from its headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def broken_links(pages: list[Path]) -> Iterator[str]:
    for page in pages:
        for match in LINK.finditer(FENCE.sub("", page.read_text())):
            address, anchor = urldefrag(match[1] or match[2])
            if re.match(r"\w+:", address):
                continue
            target = page.parent / address if address else page
            if not target.exists():
                yield f"{page}: {address} does not exist"
            elif anchor and anchor not in anchors(target):
                yield f"{page}: {address} has no heading for #{anchor}"


def test_links_of_this_repo_lead_somewhere() -> None:
    pages = [page for page in find_pages(ROOT) if not page.is_relative_to(ROOT / "template")]
    assert len(pages) > 15
    assert list(broken_links(pages)) == []


@pytest.fixture(params=KINDS)
def project(request: pytest.FixtureRequest, render: Render) -> Path:
    return render(**KINDS[request.param])


def documents(project: Path) -> list[Path]:
    return [*project.glob("*.md"), *(project / "docs").rglob("*.md")]


def test_links_of_a_project_lead_somewhere(project: Path) -> None:
    assert list(broken_links(documents(project))) == []


def targets(makefile: Path) -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", makefile.read_text(), re.MULTILINE))


def find_make_targets(text: str) -> set[str]:
    """The targets of every `make ...` in code: `make setup model` are two."""
    code = "\n".join([*FENCE.findall(text), *re.findall(r"`([^`\n]+)`", text)])
    code += "\n" + "\n".join(re.findall(r"^ {4}.+$", text, re.MULTILINE))
    calls = re.findall(r"(?:^|[`$&;\s])make((?: +[a-z][a-z-]*)+)", re.sub("#.*", "", code))
    return {target for call in calls for target in call.split()}


def test_commands_of_a_project_exist(project: Path) -> None:
    makefile = targets(project / "Makefile")
    package = project / "src/scratch_detector"
    lists = [package / "cli.py", *package.glob("*/commands.py")]
    listed = r'^    "([a-z]+)": (?:Command)?\('
    commands = {name for path in lists for name in re.findall(listed, path.read_text(), re.M)}
    assert len(commands) > 15
    wrong = []
    for page in documents(project):
        text = page.read_text()
        wrong += [
            f"{page.name}: make {name}" for name in sorted(find_make_targets(text) - makefile)
        ]
        called = set(re.findall(r"python -m scratch_detector ([a-z]+)", text))
        wrong += [f"{page.name}: {name}" for name in sorted(called - commands - {"STAGE"})]
    assert wrong == []


def test_files_that_a_project_names_exist(project: Path) -> None:
    package = project / "src/scratch_detector"
    wrong = []
    for page in documents(project):
        for name in re.findall(r"`([\w./-]+/[\w.-]+\.\w+)`", page.read_text()):
            if name.startswith((*WRITTEN, "/")) or name in WRITTEN_DOCS or name.endswith(BROUGHT):
                continue
            if not any((base / name).exists() for base in (project, package, page.parent)):
                wrong.append(f"{page.relative_to(project)}: {name}")
    assert wrong == []


def test_commands_of_this_repo_exist(render: Render) -> None:
    known = targets(ROOT / "Makefile") | targets(render(target="hybrid") / "Makefile")
    known |= targets(render(export_formats="openvino") / "Makefile")
    known |= {f"bench-{path.stem}" for path in (ROOT / "benchmarks").glob("*.py")}
    pages = [*find_pages(ROOT / "docs"), ROOT / "README.md", *find_pages(ROOT / "examples")]
    wrong = {page.name: find_make_targets(page.read_text()) - known for page in pages}
    assert {name: missing for name, missing in wrong.items() if missing} == {}


def test_a_missing_target_or_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Top\n\n[a](b.md) [c](#nothing) [d](#top)\n\nRun `make setup moodel`.\n")
    assert len(list(broken_links([page]))) == 2
    assert find_make_targets(page.read_text()) == {"setup", "moodel"}


def stages_before(dvc: Path) -> dict[str, set[str]]:
    """The stages that each stage reads from, without those that another one implies."""
    stages = yaml.safe_load(dvc.read_text())["stages"]
    writes: dict[str, str] = {}
    for stage, spec in stages.items():
        for kind in ("outs", "metrics"):
            for output in spec.get(kind, []):
                writes[output if isinstance(output, str) else next(iter(output))] = stage
    reads = {s: {writes[d] for d in v["deps"] if d in writes} for s, v in stages.items()}

    def above(stage: str) -> set[str]:
        return reads[stage].union(*(above(other) for other in reads[stage]))

    return {s: {o for o in reads[s] if not any(o in above(p) for p in reads[s])} for s in reads}


def find_arrows(text: str) -> dict[str, set[str]]:
    """The arrows between stages in the diagram of a README."""
    (model,) = re.findall(r"subgraph model.*?\n(.*?)\n\s*end", text, re.DOTALL)
    before: dict[str, set[str]] = {}
    for line in model.splitlines():
        names = line.split("-->")
        for left, right in zip(names, names[1:], strict=False):
            before.setdefault(left.strip(), set())
            before.setdefault(right.strip(), set()).add(left.strip())
    return before


def test_the_diagram_shows_the_stages_of_dvc(render: Render) -> None:
    text = (ROOT / "README.md").read_text()
    stages = stages_before(render() / "dvc.yaml")
    assert find_arrows(text) == stages
    assert find_arrows(text.replace("--> export", "")) != stages


def test_the_first_commands_of_the_readme_release_a_model_before_they_serve_it() -> None:
    first = FENCE.findall((ROOT / "README.md").read_text())[0]
    targets_in_order = re.findall(r"[a-z]+", first.partition(" make ")[2])
    assert targets_in_order[:4] == ["setup", "model", "release", "serve"]
