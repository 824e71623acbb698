"""What a machine says by its environment: variables named `<PACKAGE>_<NAME>`."""

import os

PACKAGE = __name__.partition(".")[0]


def variable(name: str) -> str:
    """Return the whole name of a variable of ours."""
    return f"{PACKAGE}_{name}".upper()


def setting(name: str, default: str = "") -> str:
    """Return what a variable of ours says, or the default."""
    return os.environ.get(variable(name), default)
