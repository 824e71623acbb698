"""Limits for Jinja and for size: the template must be as readable as a project."""

import re
import subprocess
from itertools import accumulate
from pathlib import Path

import pytest
import yaml

from conftest import LONGEST, NINE, ROOT, Render

TEMPLATE = ROOT / "template"
FILES = [path for path in sorted(TEMPLATE.rglob("*")) if path.is_file() and "pyc" not in path.name]
BLOCK = re.compile(r"^\s*# \? *(\w+)|\{%-? *(\w+)", re.MULTILINE)
VALUE = re.compile(r"\{\{=(.*?)\}\}")
PACKAGE_ONLY = {"package_name"}


def name(path: Path) -> str:
    return path.relative_to(TEMPLATE).as_posix()


def is_page(path: Path) -> bool:
    """Whether a file is a Jinja template of the project, which Copier copies unchanged."""
    return name(path).startswith("src/") and path.suffix in (".html", ".md")


COPIER_READS = [path for path in FILES if not is_page(path)]


def blocks(path: Path) -> list[str]:
    return ["".join(words) for words in BLOCK.findall(path.read_text())]


# Each test checks all files: pytest-xdist would take ten seconds to schedule one test per file.


def test_the_only_jinja_in_python_is_the_package_name() -> None:
    python = [path for path in FILES if ".py" in path.suffixes]
    assert [name(path) for path in python if blocks(path)] == []
    values = {name(path): set(map(str.strip, VALUE.findall(path.read_text()))) for path in python}
    assert {file: found for file, found in values.items() if not found <= PACKAGE_ONLY} == {}
    assert len(python) > 50, "no template found"


def test_files_with_jinja_have_its_suffix() -> None:
    has_jinja = {
        path: bool(VALUE.search(path.read_text()) or blocks(path)) for path in COPIER_READS
    }
    assert [name(p) for p in COPIER_READS if (p.suffix == ".jinja") != has_jinja[p]] == []


def deepest(words: list[str]) -> int:
    depth = [(word in ("if", "for")) - (word in ("endif", "endfor")) for word in words]
    return max(accumulate(depth), default=0)


def test_conditions_are_few_and_flat() -> None:
    words = {name(path): blocks(path) for path in COPIER_READS}
    nested = [file for file, found in words.items() if deepest(found) > 1]
    assert nested == [], "nested conditions: derive a boolean in copier.yml instead"
    many = [file for file, found in words.items() if found.count("if") > 6]
    assert many == [], "too many conditions: split the file"
    chosen = [file for file, found in words.items() if "elif" in found]
    assert chosen == [], "a choice is data: let the code read it from scope.yaml"


def test_file_names_and_bytes_work_on_every_system() -> None:
    assert [name(path) for path in FILES if set('"|:<>?*\\') & set(name(path))] == []
    assert [name(path) for path in FILES if {*b"\0\r"} & {*path.read_bytes()}] == []


def test_git_ignores_no_file_of_the_template() -> None:
    listing = ["git", "ls-files", "-co", "--exclude-standard", "-z", "template"]
    listed = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {path.relative_to(ROOT).as_posix() for path in FILES} <= set(listed.split("\0"))


def test_copier_needs_no_trust() -> None:
    settings = yaml.safe_load((ROOT / "copier.yml").read_text())
    assert not {"_tasks", "_migrations", "_jinja_extensions"} & settings.keys()


def python_files(render: Path) -> list[Path]:
    return sorted((render / "src").rglob("*.py"))


def lines(path: Path) -> int:
    return sum(bool(line.strip()) for line in path.read_text().splitlines())


def test_files_of_the_template_are_short() -> None:
    """At most 300 lines per file, for all answers: the sources of Python contain no Jinja."""
    files = (ROOT / "template/src").rglob("*.py")
    lengths = {path: len(path.read_text().splitlines()) for path in files}
    assert [str(path) for path, length in lengths.items() if length > 300] == []


@pytest.mark.parametrize(("modality", "target"), NINE)
def test_files_and_folders_are_short(modality: str, target: str, render: Render) -> None:
    """At most 300 lines per file, and 15 modules in the package folder."""
    files = python_files(render(modality=modality, target=target))
    assert max(len(path.read_text().splitlines()) for path in files) <= 300
    modules = [p.stem for p in files if p.parent.name == "scratch_detector" and p.stem[0] != "_"]
    assert len(modules) <= 15, modules


PARTS = ("yours", "to read first", "operations")
OPERATIONS = ("monitoring", "releases", "serving", "retraining", "device", "fleet", "formats")
# Sound and tables need more code in task/ than images.
MORE = {"image": 0, "audio": 80, "tabular": 160}


def sizes(folder: Path) -> dict[str, int]:
    """Count the non-blank lines of Python in each part that the README names."""
    package = folder / "src/scratch_detector"
    (order,) = re.findall(
        r"(?s)Read the code in this order: (.+?)\. ", (folder / "README.md").read_text()
    )
    named = [package / name for name in re.findall(r"`([\w/]+\.py)`", order)]
    assert len(named) >= 5 and "task/" in order
    yours = [*(package / "task").glob("*.py")]
    rest = [path for name in OPERATIONS for path in (package / name).rglob("*.py")]
    parts = zip(PARTS, (yours, [*yours, *named], rest), strict=True)
    return {part: sum(map(lines, files)) for part, files in parts}


@pytest.mark.parametrize("modality", MORE)
def test_your_code_and_the_code_to_read_first_are_short(modality: str, render: Render) -> None:
    counted = sizes(render(modality=modality))
    assert counted["yours"] <= 190 + MORE[modality]
    assert counted["to read first"] <= 600 + MORE[modality]


def test_the_readme_states_the_size_of_each_part(render: Render) -> None:
    """Within 10 %: more growth needs a decision record."""
    (row,) = re.findall(r"(?m)^.*operations [\d,]+.*$", (ROOT / "README.md").read_text())
    counted = sizes(render())
    for part in PARTS:
        (stated,) = re.findall(rf"{part}\W+([\d,]+)", row)
        assert counted[part] == pytest.approx(int(stated.replace(",", "")), rel=0.1), part


def test_the_longest_tests_exist() -> None:
    text = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [test for test in LONGEST if f"def {test}(" not in text] == []


def test_nothing_is_unfinished() -> None:
    unfinished = re.compile(r"TODO|FIXME|XXX|NotImplementedError|placeholder")
    assert [name(path) for path in FILES if unfinished.search(path.read_text())] == []
