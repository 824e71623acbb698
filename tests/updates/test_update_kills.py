"""A killed `poc2prod update` leaves the project unchanged, and the next one succeeds."""

import contextlib
import os
import random
import shutil
import signal
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from repository import commit_files, git, write_files
from small_template import MARKS, by_user, run, state

pytestmark = MARKS

SHIM = """\
#!/bin/sh
read -r count < {counter}
echo $((count + 1)) > {counter}
if [ "$count" -eq "${{KILL_AT:-0}}" ]; then kill -9 "$KILL_WHAT"; fi
exec {git} "$@"
"""


def update_and_kill(
    project: Path, shim: Path, at: int, everything: bool, after_s: float = 0
) -> bool:
    """Update in a process, killed at a git command or after a time; return whether it was."""

    def child() -> None:
        os.setsid()
        os.environ["PATH"] = f"{shim}{os.pathsep}{os.environ['PATH']}"
        os.environ["KILL_AT"] = str(at)
        os.environ["KILL_WHAT"] = str(-os.getpid() if everything else os.getpid())
        run(project)

    process = get_context("fork").Process(target=child)
    process.start()
    if after_s:
        time.sleep(after_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    with contextlib.suppress(ProcessLookupError):  # wait for git commands that are still running
        while True:
            os.killpg(process.pid or 0, 0)
            time.sleep(0.01)
    return process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("number", [9, 3], ids=["no conflict", "conflict"])
def test_a_killed_update_leaves_the_project_unchanged(
    number: int, project: Path, tmp_path: Path
) -> None:
    commit_files(project, {".gitignore": "data/\n", "code.py": by_user(number)})
    write_files(project, {"data/labels.csv": "years of work\n"})
    before, place = state(project), tmp_path / "mine-template-v1.1.0"
    counter, shim = tmp_path / "counter", tmp_path / "shim"
    write_files(shim, {"git": SHIM.format(counter=counter, git=shutil.which("git"))})
    (shim / "git").chmod(0o755)
    counter.write_text("1\n")
    assert not update_and_kill(project, shim, 0, False)
    clean_up(project, place)
    commands = int(counter.read_text()) - 1
    rng = random.Random(number)
    # The last commands write to the user's repository.
    moments = [
        (commands - before_last, before_last % 2 == 1, 0.0)
        for before_last in range(4 if number == 3 else 1)
    ]
    moments += [(rng.randrange(1, commands), True, 0.0)]
    moments += [(0, True, rng.uniform(0.1, 0.4))] * (number == 9)
    for at, everything, after_s in moments:
        counter.write_text("1\n")
        if not update_and_kill(project, shim, at, everything, after_s):
            clean_up(project, place)
        assert state(project) == before
        if at == commands and number == 3:  # git completed the last command
            clean_up(project, place)
        status, words = run(project)
        assert status == int(number == 3), words
        assert state(project) == before
        tip = git(project, "rev-parse", "template/v1.1.0^{tree}")
        result = (
            (place / "code.py").read_text()
            if status
            else git(project, "show", f"{tip.strip()}:code.py")
        )
        assert "LINE 3" in result and f"line {number} by the user" in result
        clean_up(project, place)
    git(project, "fsck", "--strict")


def clean_up(project: Path, place: Path) -> None:
    if place.exists():
        git(project, "worktree", "remove", "--force", str(place))
    git(project, "branch", "-D", "template/v1.1.0")
