"""What does a safe update cost beside Copier's own?

Both bring the same project, rendered from the oldest kept release and then edited, to today's
template, in turns, each as the command a user types and each on a fresh clone of it. CPU seconds
include every git process. `--no-test`, because those tests take the same time either way. Python
may write bytecode, so that imports are compiled once, in the uncounted first run.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path
from statistics import median

from rich.progress import track

import measure

RUNS = 5
GOAL_RATIO = 0.8
COPIER = ["copier", "update", "--defaults", "--context-lines", "1000000", "--quiet"]
OURS = ["poc2prod", "update", "--no-test", "--merge"]


def git(folder: Path, *words: str) -> None:
    """Run git in a folder; it must succeed."""
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


def commit(folder: Path, words: str) -> None:
    """Commit everything that is there."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", words)


def template(folder: Path) -> Path:
    """Make a repository of the oldest kept release and of today's state."""
    folder.mkdir()
    git(folder, "init", "--quiet")
    oldest = min((measure.ROOT / "tests/updates/releases").glob("*.tar.gz"))
    with tarfile.open(oldest) as content:
        content.extractall(folder, filter="data")
    commit(folder, "oldest")
    git(folder, "tag", "v0.0.1")
    for name in ("copier.yml", "template", "includes"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    measure.template(folder)
    commit(folder, "today")
    git(folder, "tag", "v99.0.0")
    return folder


def project(source: Path, folder: Path) -> Path:
    """Render the oldest release, and edit two files of it."""
    subprocess.run(
        [sys.executable, "-m", "copier", "copy", "-lqr", "v0.0.1", str(source), str(folder)],
        check=True,
    )
    git(folder, "init", "--quiet", "--initial-branch=main")
    for name in ("README.md", "params.yaml"):
        text = (folder / name).read_text()
        (folder / name).write_text(f"# ours\n{text}")
    commit(folder, "start")
    return folder


def update(command: list[str], start: Path, folder: Path) -> measure.Cost:
    """Update a clone of the project; return what that took."""
    git(start, "clone", "--quiet", str(start), str(folder))
    words = [sys.executable, "-m", *command]
    env = {name: os.environ[name] for name in os.environ if name != "PYTHONDONTWRITEBYTECODE"}
    run = partial(subprocess.run, words, cwd=folder, env=env, check=True, capture_output=True)
    return measure.cost(run)


with measure.workspace() as work:
    start = project(template(work / "template"), work / "project")
    costs: dict[str, list[measure.Cost]] = {"copier update": [], "poc2prod update": []}
    for i in track(range(RUNS + 1), "Updating", console=measure.console):
        for (way, found), command in zip(costs.items(), (COPIER, OURS), strict=True):
            found.append(update(command, start, work / f"{way} {i}"))

figures: dict[str, object] = {"goal_ratio": GOAL_RATIO}
table = [["way", "CPU s", "wall s"]]
for way, (_, *counted) in costs.items():
    wall_s, cpu_s = (median(values) for values in zip(*counted, strict=True))
    figures[way] = {"cpu_s": cpu_s, "wall_s": wall_s}
    table.append([way, f"{cpu_s:.2f}", f"{wall_s:.2f}"])
pairs = zip(*(found[1:] for found in costs.values()), strict=True)
ratio = median(ours.cpu_s / theirs.cpu_s for theirs, ours in pairs)
table.append([f"ratio, goal <= {GOAL_RATIO}", f"{ratio:.2f}", ""])
measure.report(f"One update, median of {RUNS}", table, figures | {"ratio": ratio}, RUNS)
