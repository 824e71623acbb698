"""`poc2prod update`, killed: everything is as it was, and the next one works."""

import contextlib
import os
import random
import shutil
import signal
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from repository import committed, git, written
from small_template import by_user, run, state

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("temporary")]

SHIM = """\
#!/bin/sh
read -r count < {counter}
echo $((count + 1)) > {counter}
if [ "$count" -eq "${{KILL_AT:-0}}" ]; then kill -9 "$KILL_WHAT"; fi
exec {git} "$@"
"""


def killed(project: Path, shim: Path, at: int, everything: bool, after_s: float = 0) -> bool:
    """Update in a process that is killed, at a git command or after a while, unless it is done."""

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
    with contextlib.suppress(ProcessLookupError):  # what git had begun comes to its end
        while True:
            os.killpg(process.pid or 0, 0)
            time.sleep(0.01)
    return process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("number", [9, 3], ids=["no conflict", "conflict"])
def test_killed_at_any_moment_it_leaves_everything_as_it_was(
    number: int, project: Path, tmp_path: Path
) -> None:
    committed(project, {".gitignore": "data/\n", "code.py": by_user(number)})
    written(project, {"data/labels.csv": "years of work\n"})
    before, place = state(project), tmp_path / "mine-template-v1.1.0"
    counter, shim = tmp_path / "counter", tmp_path / "shim"
    written(shim, {"git": SHIM.format(counter=counter, git=shutil.which("git"))})
    (shim / "git").chmod(0o755)
    counter.write_text("1\n")
    assert not killed(project, shim, 0, False)
    clear(project, place)
    commands = int(counter.read_text()) - 1
    chance = random.Random(number)
    # The last commands are those that write to the user's repository.
    moments = [(commands - back, back % 2 == 1, 0.0) for back in range(4 if number == 3 else 1)]
    moments += [(chance.randrange(1, commands), True, 0.0)]
    moments += [(0, True, chance.uniform(0.1, 0.4))] * (number == 9)
    for at, everything, after_s in moments:
        counter.write_text("1\n")
        if not killed(project, shim, at, everything, after_s):
            clear(project, place)
        assert state(project) == before
        if at == commands and number == 3:  # git went on, and had only to say that it was done
            clear(project, place)
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
        clear(project, place)
    git(project, "fsck", "--strict")


def clear(project: Path, place: Path) -> None:
    if place.exists():
        git(project, "worktree", "remove", "--force", str(place))
    git(project, "branch", "-D", "template/v1.1.0")
