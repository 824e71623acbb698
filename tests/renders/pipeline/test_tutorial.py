"""The tutorial, executed block by block as it is written, up to a served model and a label."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, Render
from environment import environment, release, requirements, variables

PAGE = ROOT / "docs/tutorial.md"
ADDRESS = "https://github.com/poc2prod/poc2prod.git"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def script(text: str) -> str:
    """Every block as one shell script: `$ ` lines run, Python goes to the file it names."""
    lines = ["set -euo pipefail", "trap 'kill %1; wait %1 || true' EXIT"]
    for language, block in BLOCK.findall(text):
        if language == "python":
            name, _, code = block.partition("\n")
            lines.append(f"cat > {name.removeprefix('# ')} <<'EOF'\n{code}EOF")
        else:
            lines += [line.removeprefix("$ ") for line in block.splitlines()]
    return "\n".join(lines)


@pytest.mark.long
def test_the_tutorial_runs_as_written(render: Render, tmp_path: Path) -> None:
    """Only the address, the installation and the port differ from what a reader types."""
    source = release(tmp_path / "template")
    place = environment(requirements(render(), "serve", "train", "dev"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    replaced = {
        "uvx copier copy --defaults": "copier copy --quiet --defaults",
        ADDRESS: str(source),
        "make setup": "git init --quiet --initial-branch main",
        "127.0.0.1:8000": f"127.0.0.1:{port}",
    }
    text = PAGE.read_text()
    for old, new in replaced.items():
        assert old in text, f"not in the tutorial: {old}"
        text = text.replace(old, new)
    work = tmp_path / "work"
    work.mkdir()
    env = variables(work / "shape-sorter", place) | {"SHAPE_SORTER_PORT": str(port)}
    env["PATH"] = f"{env['PATH']}{os.pathsep}{Path(sys.executable).parent}"
    run = subprocess.run(
        ["bash", "-m", "-c", script(text)], cwd=work, env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "All 21 limits met" in run.stdout
    assert "rejected" in run.stdout
    answers = [json.loads(line) for line in re.findall(r"\{[^\n{}]*\}", run.stdout)]
    assert any(
        answer.get("id") == "first" and answer.get("label") == "circle" for answer in answers
    )
