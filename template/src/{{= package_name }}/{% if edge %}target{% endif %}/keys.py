"""Settings of a project whose model runs on devices."""

from .alert_limits import AlertLimits
from .device import SEND, DeviceParams, DeviceScope

TARGET = "edge"
CHEAPEST_BY = "size_mb"  # space on a device is scarce, and its time is paid
EXAMPLES = {"a device": SEND}


class TargetScope(DeviceScope, frozen=True, extra="forbid"):
    """Keys of scope.yaml for this target."""


class TargetParams(DeviceParams, frozen=True, extra="forbid"):
    """Keys of params.yaml for this target."""


class TargetWatch(AlertLimits, frozen=True, extra="forbid"):
    """This target adds no alert limits."""
