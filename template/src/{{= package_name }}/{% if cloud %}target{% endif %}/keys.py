"""Settings of a project whose model runs on a server."""

from .server import SEND, ServerParams, ServerScope, ServerWatch

TARGET = "cloud"
CHEAPEST_BY = "latency_p50_ms"  # a server is paid by time
EXAMPLES = {"the server": SEND}


class TargetScope(ServerScope, frozen=True, extra="forbid"):
    """Keys of scope.yaml for this target."""


class TargetParams(ServerParams, frozen=True, extra="forbid"):
    """Keys of params.yaml for this target."""


class TargetWatch(ServerWatch, frozen=True, extra="forbid"):
    """Alert limits for this target, in addition to those of every target."""
