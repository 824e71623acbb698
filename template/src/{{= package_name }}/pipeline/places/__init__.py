"""Where the model runs: one module per place, with a function `start` for `benchmark`."""

from importlib import import_module
from pathlib import Path
from types import ModuleType


def load_places() -> dict[str, ModuleType]:
    """Import the module of each place of this project."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    return {name: import_module(f".{name}", __package__) for name in names}
