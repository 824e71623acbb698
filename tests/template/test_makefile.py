"""The Makefile of a render: its errors without uv, and commands that exist there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import TARGETS, Render
from repository import done, run_in

TOOLS = ("make", "sh", "sed", "expand", "git")
WITHOUT_UV = {"help", "upgrade", "doctor"}


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A PATH with a few tools, without uv and poc2prod."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool) or "")
    return folder


def add_program(folder: Path, name: str) -> None:
    (folder / name).write_text(f'#!/bin/sh\necho "{name} got $*"\n')
    (folder / name).chmod(0o755)


def make(folder: Path, path: Path, *targets: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "-s", *targets]
    return subprocess.run(
        command, cwd=folder, env={"PATH": str(path)}, capture_output=True, text=True
    )


@pytest.mark.parametrize("target", TARGETS)
def test_without_uv_each_target_says_how_to_install_it(
    target: str, render: Render, bin_folder: Path
) -> None:
    folder = render(target=target)
    targets = re.findall(r"(?m)^([a-z-]+):", (folder / "Makefile").read_text())
    assert set(targets) >= WITHOUT_UV | {"setup", "model", "release"}
    for name in sorted(set(targets) - WITHOUT_UV):
        result = make(folder, bin_folder, name)
        assert result.returncode and result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert "uv is needed" in line and "pip install uv" in line


def test_help_and_your_own_targets_need_no_uv(
    render: Render, bin_folder: Path, tmp_path: Path
) -> None:
    for targets in ([], ["help"]):
        assert "settings" in done(make(render(), bin_folder, *targets))
    text = (render() / "Makefile").read_text()
    (tmp_path / "Makefile").write_text(f"{text}\nours:\n\techo ours;\n")
    assert done(make(tmp_path, bin_folder, "ours")) == "ours\n"


@pytest.mark.parametrize("name", ["upgrade", "doctor"])
def test_poc2prod_is_taken_from_the_path_or_fetched(
    name: str, render: Render, bin_folder: Path
) -> None:
    result = make(render(), bin_folder, name)
    assert result.returncode and "pip install uv" in result.stderr
    assert "No such file" not in result.stderr
    add_program(bin_folder, "uv")
    add_program(bin_folder, "uvx")
    verb = {"upgrade": "update"}.get(name, name)
    output = done(make(render(), bin_folder, name))
    assert re.fullmatch(rf"uvx got --from git\+https://\S+ poc2prod {verb}\n", output)
    add_program(bin_folder, "poc2prod")
    assert done(make(render(), bin_folder, name)) == f"poc2prod got {verb}\n"
    (bin_folder / "uv").unlink()
    assert done(make(render(), bin_folder, name)) == f"poc2prod got {verb}\n"


PRINT_EXAMPLES = """
from scratch_detector.target.keys import EXAMPLES
print(*EXAMPLES.values(), sep="\\n")
"""


@pytest.mark.parametrize(
    ("target", "addresses"),
    [
        ("cloud", ["127.0.0.1:8000/predict"]),
        ("edge", ["http://device/decide"]),
        ("hybrid", ["127.0.0.1:8000/predict", "http://device/decide"]),
    ],
)
def test_the_example_is_sent_to_places_of_the_target(
    target: str, addresses: list[str], render: Render
) -> None:
    folder = render(target=target)
    printed = done(run_in(folder, "python", "-c", PRINT_EXAMPLES, PYTHONPATH="src"))
    assert [line.split()[-1] for line in printed.splitlines()] == addresses


@pytest.mark.parametrize("target", TARGETS)
def test_the_command_line_lists_only_what_exists(target: str, render: Render) -> None:
    folder = render(target=target)
    command = ("python", "-m", "scratch_detector", "--help")
    help_text = done(run_in(folder, *command, PYTHONPATH="src"))
    names = set(re.findall(r"(?m)^  ([a-z]+)  ", help_text))
    assert {"ingest", "check", "release", "settings"} <= names
    assert ("serve" in names) == (target != "edge")
    assert ("collect" in names) == ("edge" in names) == (target != "cloud")
