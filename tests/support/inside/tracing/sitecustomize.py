"""Record what each stage of a render reads; Python imports this file if it is on PYTHONPATH.

`python -m PACKAGE STAGE` and its child processes write to $TRACES/STAGE: one line per file of the
project opened for reading, and one per key read from `scope.yaml` or `params.yaml`, as
`scope.yaml:KEY`.
"""

import os
import sys
from pathlib import Path
from typing import Any


def record(stage: str) -> None:
    here = f"{Path.cwd()}/"
    log = os.open(Path(os.environ["TRACES"], stage), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    watched: set[str] = set()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(arguments[0], str):
            return
        path, _, flags = arguments
        path = os.path.abspath(path)  # noqa: PTH100 (links stay links)
        if path.startswith(here) and not (flags or 0) & (os.O_WRONLY | os.O_RDWR):
            name = path.removeprefix(here)
            os.write(log, f"{name}\n".encode())
            if name in ("scope.yaml", "params.yaml") and name not in watched:
                watched.add(name)
                watch(name)

    def watch(name: str) -> None:
        """Record reads of the fields of the Pydantic model for this file."""
        module = next(m for key, m in sys.modules.items() if key.endswith(".scope"))
        model = getattr(module, {"scope.yaml": "Scope", "params.yaml": "Params"}[name])
        fields = frozenset(model.model_fields)

        def look(self: object, key: str) -> object:
            if key in fields:
                os.write(log, f"{name}:{key}\n".encode())
            return object.__getattribute__(self, key)

        model.__getattribute__ = look

    sys.addaudithook(hook)


if "TRACES" in os.environ:
    after = sys.orig_argv[sys.orig_argv.index("-m") + 1 :] if "-m" in sys.orig_argv else []
    if len(after) > 1:
        os.environ.setdefault("TRACED", after[1])
    if "TRACED" in os.environ:
        record(os.environ["TRACED"])
