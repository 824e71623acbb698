"""Settings of a project whose model runs on a server."""

from .server import SEND, ServerParams, ServerScope, ServerWatch

TARGET = "cloud"
EXAMPLES = {"the server": SEND}


class TargetScope(ServerScope, frozen=True, extra="forbid"):
    """Keys of scope.yaml that other targets lack."""


class TargetParams(ServerParams, frozen=True, extra="forbid"):
    """Keys of params.yaml that other targets lack."""


class TargetWatch(ServerWatch, frozen=True, extra="forbid"):
    """Alert limits that other targets lack."""
