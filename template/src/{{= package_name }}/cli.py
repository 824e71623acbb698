"""Every command by its name: `dvc.yaml` and the Makefile call these, and so can you.

A module is imported when its command runs, so that a device without PyTorch has the rest.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import typer

COMMANDS = {  # name, where it lives, what it does; the first ten are the road, in order
    "ingest": ("ingest", "Bring data in: your folder or file, or the sample data"),
    "validate": ("validate", "Hold the data against its contract"),
    "featurize": ("featurize", "Turn payloads into what the model sees"),
    "train": ("train", "Fit the model, and the baseline it has to beat"),
    "export": ("export", "Write the model as ONNX and compare the answers"),
    "quantize": ("quantize", "Shrink the ONNX model to int8"),
    "evaluate": ("evaluate", "Score the models on held-out data"),
    "benchmark": ("benchmark", "Time whole predictions"),
    "report": ("report", "Draw reports/report.html"),
    "check": ("gates", "Judge the evidence against scope.yaml"),
    "verify": ("verify", "Recompute the hashes in dvc.lock"),
    "card": ("card", "Write the model card and the table in the README"),
    "example": ("example", "Write one held-out payload to try things with"),
    "serve": ("serve", "Answer over HTTP"),
    "edge": ("edge", "Answer what lands in the inbox"),
    "monitor": ("monitor", "Read the drift scores of a running model"),
}
ROAD = list(COMMANDS)[:10]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def command(name: str) -> Callable[[], None]:
    """Return the function of a command; its module is imported now."""
    function: Callable[[], None] = getattr(
        import_module(f".{COMMANDS[name][0]}", __package__), name
    )
    return function


def _register(name: str) -> None:
    def run() -> None:
        command(name)()

    app.command(name, help=COMMANDS[name][1])(run)


@app.command("ingest", help=COMMANDS["ingest"][1])
def _ingest(source: str = typer.Argument(None, help="Your data; nothing: schema.yaml's")) -> None:
    from .ingest import ingest

    ingest(source)


for _name, (_module, _) in COMMANDS.items():
    if _name != "ingest" and find_spec(f".{_module}", __package__):
        _register(_name)
