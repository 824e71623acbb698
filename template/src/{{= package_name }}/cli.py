"""Every command by its name: `dvc.yaml` and the Makefile call these, and so can you.

A module is imported when its command runs, so that a device without PyTorch has the rest.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Annotated

import typer

COMMANDS = {  # name: where it lives, what it does; the first ten are the road, in order
    "ingest": ("ingest", "Bring data in: SOURCE, or what schema.yaml names"),
    "validate": ("validate", "Hold the data against its contract"),
    "featurize": ("featurize", "Turn payloads into what the model sees"),
    "train": ("train", "Fit the model, and the baseline it has to beat"),
    "export": ("export", "Write the model as ONNX and compare the answers"),
    "compress": ("compress", "Search the smallest file that keeps every promise"),
    "evaluate": ("evaluate", "Score the models on held-out data"),
    "benchmark": ("benchmark", "Time whole predictions"),
    "report": ("report", "Draw reports/report.html"),
    "check": ("gates", "Judge the evidence against scope.yaml"),
    "verify": ("verify", "Recompute the hashes in dvc.lock"),
    "card": ("card", "Write the model card and the table in the README"),
    "size": ("size", "Write into deploy/ how many servers the promises need"),
    "example": ("ingest", "Write one held-out payload to try things with"),
    "serve": ("serve", "Answer over HTTP with the champion"),
    "rehearse": ("serve", "Answer over HTTP with the model that was made last"),
    "load": ("loadtest", "Hold a server under the promised traffic, and judge it"),
    "edge": ("edge", "Answer what lands in the inbox"),
    "outbox": ("outbox", "Print the decisions that wait, as JSON lines"),
    "collect": ("collect", "Take what devices send, and show them to Prometheus"),
    "release": ("release", "Sign a model that keeps its promises, as a candidate"),
    "challenge": ("rollout", "Let a release, by its ID, run beside the champion"),
    "promote": ("rollout", "Make the challenger the champion"),
    "rollback": ("rollout", "Make the champion before it the champion again"),
    "publish": ("publish", "Write the champion to repository/, for devices to fetch"),
    "rotate": ("publish", "Replace a key of the updates, by its NAME"),
    "update": ("update", "Look once for a newer model"),
    "monitor": ("monitor", "Read the drift scores of a running model"),
}
ROAD = list(COMMANDS)[:10]
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def run(name: str, *arguments: str) -> None:
    """Import the module of a command and run it."""
    getattr(import_module(f".{COMMANDS[name][0]}", __package__), name)(*arguments)


def _register(name: str, help: str) -> None:
    takes_argument = {"ingest": _ingest, "challenge": _challenge, "rotate": _rotate}
    app.command(name, help=help)(takes_argument.get(name) or (lambda: run(name)))


def _ingest(source: Annotated[str, typer.Argument()] = "") -> None:
    run("ingest", source)


def _challenge(id: Annotated[str, typer.Argument()] = "") -> None:
    run("challenge", id)


def _rotate(name: Annotated[str, typer.Argument()] = "") -> None:
    run("rotate", name)


for _name, (_module, _help) in COMMANDS.items():
    if find_spec(f".{_module}", __package__):
        _register(_name, _help)
