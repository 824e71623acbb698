"""Settings of a project whose model runs on devices and, for unsure decisions, on a server."""

from pydantic import Field

from ..problem.doubt import DoubtScope
from . import device, server

TARGET = "hybrid"
CHEAPEST_BY = "size_mb"  # space on a device is scarce, and its time is paid
EXAMPLES = {"the server": server.SEND, "a device": device.SEND}


class TargetScope(server.ServerScope, device.DeviceScope, DoubtScope, frozen=True, extra="forbid"):
    """Keys of scope.yaml for this target."""


class TargetParams(server.ServerParams, device.DeviceParams, frozen=True, extra="forbid"):
    """Keys of params.yaml for this target."""

    server_url: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="Server that devices ask about unsure decisions, like "
        "`https://example.com/predict`. Empty: none.",
    )
    unsure_mb: float = Field(
        8, ge=1, description="Disk space on a device for inputs that wait for the server."
    )


class TargetWatch(server.ServerWatch, frozen=True, extra="forbid"):
    """Alert limits for this target, in addition to those of every target."""
