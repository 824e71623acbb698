"""The commands that are printed after a project is created, or an update has conflicts."""

import shlex
from pathlib import Path

from rich.console import Console

from .checkout import Checkout
from .make import INSTALL, missing_tools
from .output import say


def with_install(steps: list[str]) -> list[str]:
    """Insert commands that install tools which the steps need and the PATH lacks."""
    heading, *commands = steps or [""]
    install = [f"  {INSTALL[tool]:<15}# {tool} is not on your PATH" for tool in missing_tools()]
    return [heading, *install, *commands]


def print_next_steps(console: Console, project: Checkout, branch: str, place: Path) -> None:
    words = shlex.quote(f"Update the template to {branch.partition('/')[2]}")
    worktree, back = shlex.quote(str(place)), shlex.quote(str(project.folder))
    say(
        console,
        f"Your files are unchanged. The worktree {place} (branch {branch}) contains both sides.",
        "To finish, resolve the conflicts there, then:",
        f"  cd {shlex.quote(str(place / project.prefix))}",
        f"  git add --all && git commit -m {words}",
        f"  cd {back} && git merge {branch} && git worktree remove {worktree}",
        "To discard the update:",
        f"  git worktree remove --force {worktree} && git branch -D {branch}",
    )
