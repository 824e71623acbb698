"""Edit files of a DVC project one by one; print, as JSON, the stages that each edit re-runs."""

import json
import sys
from pathlib import Path

from dvc.repo import Repo


def changed_stages(repo: Repo, name: str) -> list[str]:
    """Return the stages that depend on this file or on a folder that contains it."""
    stages = []
    for stage, changes in repo.status().items():
        changed = {
            path
            for change in changes
            if "changed deps" in change
            for path in change["changed deps"]
        }
        if any(name == path or name.startswith(f"{path}/") for path in changed):
            stages.append(stage)
    return sorted(stages)


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
