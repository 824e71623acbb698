"""One file of rules for each kind of thing that is watched here."""

from importlib import import_module
from importlib.resources import files
from pathlib import Path

from ..scope import load_scope
from .rules import write_rules

KINDS = [
    kind for kind in ("server", "fleet") if files(__package__).joinpath(f"{kind}.py").is_file()
]


def path_of(kind: str) -> Path:
    """Return where the rules about a kind are."""
    return Path(f"deploy/{kind}-alerts.yml")


def alerts() -> None:
    """Write the rules of Prometheus into deploy/."""
    for kind in KINDS:
        rules = import_module(f".{kind}", __package__).rules(load_scope())
        write_rules(path_of(kind), {kind: rules})
