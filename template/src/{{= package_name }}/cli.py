"""Every command by its name: `dvc.yaml` and the Makefile call these, and so can you.

A module is imported when its command runs, so that a device without PyTorch has the rest.
"""

from importlib import import_module
from importlib.resources import files
from typing import Annotated

import typer

COMMANDS = {  # name: where it lives, what it does; the first ten are the road, in order
    "ingest": ("pipeline.ingest", "Bring data in: SOURCE, or what schema.yaml names"),
    "validate": ("pipeline.validate", "Hold the data against its contract"),
    "featurize": ("pipeline.featurize", "Turn payloads into what the model sees"),
    "train": ("pipeline.train", "Fit the model, and the baseline it has to beat"),
    "export": ("pipeline.export", "Write the model as ONNX and compare the answers"),
    "compress": ("pipeline.compress", "Search the smallest file that keeps every promise"),
    "evaluate": ("pipeline.evaluate", "Score the models on held-out data"),
    "benchmark": ("pipeline.benchmark", "Time whole predictions"),
    "report": ("pipeline.report", "Draw reports/report.html"),
    "check": ("gates", "Judge the evidence against scope.yaml"),
    "verify": ("pipeline.verify", "Recompute the hashes in dvc.lock"),
    "card": ("pipeline.card", "Write the model card and the table in the README"),
    "size": ("serving.capacity", "Write into deploy/ how many servers the promises need"),
    "example": ("pipeline.ingest", "Write one held-out payload to try things with"),
    "feedback": (
        "pipeline.ingest_feedback",
        "Turn labelled requests of data/journal*.db into examples",
    ),
    "serve": ("serving.app", "Answer over HTTP with the champion"),
    "rehearse": ("serving.app", "Answer over HTTP with the model that was made last"),
    "load": ("serving.load_test", "Hold a server under the promised traffic, and judge it"),
    "edge": ("device.loop", "Decide on what lands in the inbox, or is asked at data/decide.sock"),
    "put": ("device.inbox", "Put what standard input holds into the inbox"),
    "capture": ("device.inbox", "Put what a sensor sees or hears into the inbox"),
    "outbox": ("device.outbox", "Print the decisions that wait, as JSON lines"),
    "collect": ("fleet.collector", "Take what devices send, and show them to Prometheus"),
    "release": ("releases.release", "Sign a model that keeps its promises, as a candidate"),
    "challenge": ("releases.rollout", "Let a release, by its ID, run beside the champion"),
    "promote": ("releases.rollout", "Make the challenger the champion"),
    "rollback": ("releases.rollout", "Make the champion before it the champion again"),
    "publish": ("fleet.publish", "Write the champion to repository/, for devices to fetch"),
    "rotate": ("fleet.publish", "Replace a key of the updates, by its NAME"),
    "update": ("device.model_update", "Look once for a newer model"),
    "package": ("fleet.debian", "Put the loop and its model into a .deb, for ARCH"),
    "monitor": ("monitoring.live", "Read the drift scores of a running model"),
    "retrain": (
        "retraining.retrain",
        "Train, judge and propose a candidate: when due, or a REASON",
    ),
}
ROAD = list(COMMANDS)[:10]
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # a device has no rich
)


def run(name: str, *arguments: str) -> None:
    """Import the module of a command and run it."""
    getattr(import_module(f".{COMMANDS[name][0]}", __package__), name)(*arguments)


def _register(name: str, help: str) -> None:
    takes_argument = {"ingest": _ingest, "challenge": _challenge, "rotate": _rotate}
    takes_argument |= {"package": _package, "retrain": _retrain}
    app.command(name, help=help)(takes_argument.get(name) or (lambda: run(name)))


def _ingest(source: Annotated[str, typer.Argument()] = "") -> None:
    run("ingest", source)


def _challenge(id: Annotated[str, typer.Argument()] = "") -> None:
    run("challenge", id)


def _rotate(name: Annotated[str, typer.Argument()] = "") -> None:
    run("rotate", name)


def _package(arch: Annotated[str, typer.Argument()] = "") -> None:
    run("package", arch)


def _retrain(reason: Annotated[str, typer.Argument()] = "") -> None:
    run("retrain", reason)


for _name, (_module, _help) in COMMANDS.items():
    if files(__package__).joinpath(f"{_module.replace('.', '/')}.py").is_file():
        _register(_name, _help)
