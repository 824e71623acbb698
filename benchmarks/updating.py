"""Compare the cost of `poc2prod update` and `copier update`.

Both commands update fresh clones of an edited project, in turns, from the oldest archived release
to the current template. CPU seconds include all git processes. `--no-test` leaves out the project's
tests, which cost the same for both. Python may write bytecode, so imports are compiled once, in the
warm-up run.
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
    """Commit all files."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", words)


def template(folder: Path) -> Path:
    """Create a repository with the oldest archived release and the current state."""
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
    """Render the oldest release and edit two of its files."""
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
    """Update a clone of the project; return the cost."""
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
