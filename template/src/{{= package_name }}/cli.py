"""The command line: `dvc.yaml` and the Makefile call these commands, and so can you.

A module is imported when its command runs: a device without PyTorch has all commands that it needs.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Annotated, NamedTuple

import typer


class Command(NamedTuple):
    """A function of the same name in a module, its help, and what it takes, if anything."""

    module: str
    help: str
    argument: str = ""
    flag: str = ""


# The stages of dvc.yaml, in order.
STAGES = (
    "ingest",
    "validate",
    "featurize",
    "train",
    "export",
    "compress",
    "evaluate",
    "benchmark",
    "report",
    "check",
)
COMMANDS = {
    "ingest": Command(
        "pipeline.ingest", "Bring data in: SOURCE, or what schema.yaml names", "SOURCE"
    ),
    "validate": Command("pipeline.validate", "Check the data against schema.yaml"),
    "featurize": Command("pipeline.featurize", "Turn payloads into features"),
    "train": Command("pipeline.train", "Train the model, and the baseline it has to beat"),
    "export": Command("pipeline.export", "Export the model to ONNX and compare the outputs"),
    "compress": Command("pipeline.compress", "Find the smallest file that meets all limits"),
    "evaluate": Command("pipeline.evaluate", "Score the models on held-out data"),
    "benchmark": Command("pipeline.benchmark", "Measure latency and throughput"),
    "report": Command("pipeline.report", "Write reports/report.html"),
    "check": Command(
        "pipeline.check", "Compare the results with the limits in scope.yaml", flag="--record"
    ),
    "deps": Command("pipeline.deps", "Write the imports of each stage into dvc.yaml"),
    "verify": Command("pipeline.verify", "Check the hashes in dvc.lock"),
    "card": Command("pipeline.card", "Write the model card and the table in the README"),
    "example": Command("pipeline.ingest", "Write one held-out payload to try things with"),
    "size": Command("serving.capacity", "Write the number of servers into deploy/"),
    "serve": Command("serving.app", "Serve the champion over HTTP"),
    "rehearse": Command("serving.app", "Serve the latest model, released or not"),
    "load": Command("serving.load_test", "Load-test a server at the promised traffic"),
    "feedback": Command("pipeline.ingest_feedback", "Turn labelled requests into examples"),
    "edge": Command(
        "device.loop", "Run the device loop: answer files in the inbox, and the socket"
    ),
    "put": Command("device.inbox", "Put standard input into the inbox"),
    "capture": Command("device.inbox", "Put payloads from a sensor into the inbox"),
    "outbox": Command("device.outbox", "Print the decisions that wait, as JSON lines"),
    "update": Command("device.model_update", "Look for a newer model once"),
    "collect": Command("fleet.collector", "Receive what devices send, and export it to Prometheus"),
    "package": Command("fleet.debian", "Build a .deb of the device loop and its model", "ARCH"),
    "publish": Command("fleet.publish", "Write the champion to repository/, for devices to fetch"),
    "rotate": Command("fleet.publish", "Replace a key of the update repository", "NAME"),
    "release": Command("releases.release", "Sign a model that meets all limits, as a candidate"),
    "challenge": Command("releases.rollout", "Run a release beside the champion", "ID"),
    "promote": Command("releases.rollout", "Make the challenger the champion"),
    "rollback": Command("releases.rollout", "Go back to the previous champion"),
    "monitor": Command("monitoring.live", "Read the drift scores of a running model"),
    "settings": Command("cli", "List the environment variables of this project"),
    "retrain": Command(
        "retraining.retrain",
        "Train, compare and propose a candidate, if due or for a REASON",
        "REASON",
    ),
}


def run(name: str, *arguments: object) -> None:
    """Import the module of a command and run it."""
    getattr(import_module(f".{COMMANDS[name].module}", __package__), name)(*arguments)


def settings() -> None:
    """Print every environment variable of the project.

    It is here because it imports any module: a module below would depend on all others.
    """
    package = Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        if "(Settings)" in path.read_text():
            parts = path.relative_to(package).with_suffix("").parts
            import_module("." + ".".join(parts), __package__)
    import_module(".settings", __package__).print_settings()


def main() -> None:
    """Run the command line."""
    create_app()()


def create_app() -> typer.Typer:
    """Return the command line with the commands whose modules are installed here."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # rich is not installed on devices
    )
    for name, command in COMMANDS.items():
        path = f"{command.module.replace('.', '/')}.py"
        if files(__package__).joinpath(path).is_file():
            app.command(name, help=command.help)(_callback(name, command))
    return app


def _callback(name: str, command: Command) -> Callable[..., None]:
    if command.argument:

        def call_with_argument(
            argument: Annotated[str, typer.Argument(metavar=f"[{command.argument}]")] = "",
        ) -> None:
            run(name, argument)

        return call_with_argument
    if command.flag:

        def call_with_flag(flag: Annotated[bool, typer.Option(command.flag)] = False) -> None:
            run(name, flag)

        return call_with_flag
    return lambda: run(name)
