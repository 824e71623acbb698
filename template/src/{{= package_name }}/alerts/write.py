"""One file of rules for each kind of thing that is watched here."""

from importlib import import_module
from importlib.resources import files
from pathlib import Path

from ..refusal import Refusal
from ..scope import SCOPE, load_scope
from .rules import write_rules

KINDS = [
    kind for kind in ("server", "fleet") if files(__package__).joinpath(f"{kind}.py").is_file()
]


def path_of(kind: str) -> Path:
    """Return where the rules about a kind are."""
    return Path(f"deploy/{kind}-alerts.yml")


def alerts() -> None:
    """Write the rules of Prometheus into deploy/.

    Raises:
        SystemExit: an alert could never fire; the number in scope.yaml is named.
    """
    for kind in KINDS:
        try:
            rules = import_module(f".{kind}", __package__).rules(load_scope())
        except Refusal as refusal:
            raise SystemExit(f"{SCOPE}: {refusal}") from None
        write_rules(path_of(kind), {kind: rules})
