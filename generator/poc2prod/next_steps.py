"""The commands that are printed after a project is created."""

from .make import INSTALL, missing_tools


def with_install(steps: list[str]) -> list[str]:
    """Insert commands that install tools which the steps need and the PATH lacks."""
    heading, *commands = steps or [""]
    install = [f"  {INSTALL[tool]:<15}# {tool} is not on your PATH" for tool in missing_tools()]
    return [heading, *install, *commands]
