"""The command line of the project: `dvc.yaml` and the Makefile call these commands.

A folder that only some projects have lists its commands in its `commands.py`. A module is imported
when its command runs, so that a command works without the packages of the others.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from . import framework

PACKAGE = Path(__file__).parent


class Command(NamedTuple):
    """The module of a command, its help, and its argument or flag.

    The function in the module has the name of the command.
    """

    module: str
    help: str
    argument: str = ""
    flag: str = ""


# The stages of dvc.yaml, in order.
STAGES = (
    "ingest",
    "validate",
    "featurize",
    *framework.STAGES,
    "compress",
    "evaluate",
    "benchmark",
    "report",
    "check",
)
COMMANDS = {
    "ingest": Command(
        "pipeline.ingest", "Read examples from SOURCE, or from the source in schema.yaml", "SOURCE"
    ),
    "validate": Command("pipeline.validate", "Check the data against schema.yaml"),
    "featurize": Command("pipeline.featurize", "Compute the features of all examples"),
    "compress": Command("pipeline.compress", "Find the best model file that meets all limits"),
    "evaluate": Command("pipeline.evaluate", "Score the models on held-out data"),
    "benchmark": Command("pipeline.benchmark", "Measure latency and throughput"),
    "report": Command("pipeline.report", "Write reports/report.html"),
    "check": Command(
        "pipeline.check", "Compare the results with the limits in scope.yaml", flag="--record"
    ),
    "deps": Command("pipeline.deps", "Write the imports of each stage into dvc.yaml"),
    "verify": Command("pipeline.verify", "Check the hashes in dvc.lock"),
    "card": Command("pipeline.card", "Write the model card and the table in the README"),
    "example": Command("pipeline.ingest", "Write a held-out input and show how to send it"),
    "release": Command("releases.release", "Sign a model that meets all limits, as a candidate"),
    "challenge": Command("releases.rollout", "Run a release next to the champion", "ID"),
    "promote": Command("releases.rollout", "Make the challenger the champion"),
    "rollback": Command("releases.rollout", "Go back to the previous champion"),
    "restore": Command("releases.rollout", "Make a release the champion, from any state", "ID"),
    "monitor": Command("monitoring.live", "Read the drift scores of a running model"),
    "settings": Command("cli", "List all settings, or write docs/settings.md", flag="--write"),
    "due": Command("monitoring.due", "Ask Prometheus whether a candidate is due", "REASON"),
}


def run(name: str, *arguments: object) -> None:
    """Import the module of a command and run it."""
    getattr(import_module(f".{all_commands()[name].module}", __package__), name)(*arguments)


def all_commands() -> dict[str, Command]:
    """Return the commands above and those of each folder; the stages first, in their order."""
    commands = dict(COMMANDS)
    for path in sorted(PACKAGE.glob("*/commands.py")):
        listed = import_module(f".{path.parent.name}.commands", __package__).COMMANDS
        commands |= {name: Command(*row) for name, row in listed.items()}
    return {name: commands[name] for name in dict.fromkeys((*STAGES, *commands))}


def settings(write: bool = False) -> None:
    """Print all settings, or write them to docs/settings.md.

    It is in this module because it imports modules of all layers.
    """
    for path in sorted(PACKAGE.rglob("*.py")):
        if "(Settings)" in path.read_text():
            parts = path.relative_to(PACKAGE).with_suffix("").parts
            import_module("." + ".".join(parts), __package__)
    scope = import_module(".scope", __package__)
    module = import_module(".settings", __package__)
    text: str = module.describe_settings({"scope.yaml": scope.Scope, "params.yaml": scope.Params})
    if write:
        module.DOCUMENT.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def main() -> None:
    """Run the command line."""
    create_app()()


def create_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # rich is a package for training only
    )
    for name, command in all_commands().items():
        if (PACKAGE / f"{command.module.replace('.', '/')}.py").is_file():
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
