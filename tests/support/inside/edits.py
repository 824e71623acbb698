"""Edit files of a DVC project one at a time; print, as JSON, which stages each edit re-runs."""

import json
import sys
from pathlib import Path

from dvc.repo import Repo


def changed_stages(repo: Repo, name: str) -> list[str]:
    """Return the stages with a dependency that is this file, or a folder around it."""
    found = []
    for stage, changes in repo.status().items():
        changed = {
            path
            for change in changes
            if "changed deps" in change
            for path in change["changed deps"]
        }
        if any(name == path or name.startswith(f"{path}/") for path in changed):
            found.append(stage)
    return sorted(found)


def main(names: list[str]) -> None:
    answers = {}
    with Repo() as repo:
        for name in names:
            path = Path(name)
            before = path.read_bytes()
            path.write_bytes(before + b"\n# edited\n")
            answers[name] = changed_stages(repo, name)
            path.write_bytes(before)
    print(json.dumps(answers))


main(sys.argv[1:])
