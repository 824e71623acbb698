"""Settings of devices."""

from pydantic import BaseModel, Field, field_validator
from pydantic_core import PydanticCustomError

from ..problem.safe_answer import SafeAnswer
from .alert_limits import LOOK_BACK_S, AlertLimits, never_fires
from .upload import UploadParams

SEND = "curl --unix-socket data/decide.sock --data-binary @{path} http://device/decide"


class FailSafe(SafeAnswer, frozen=True, extra="forbid"):
    """The decision of a device whose model fails or is too slow."""

    after_times_p95: float = Field(
        ge=1, description="Time limit of a decision, as a multiple of max_latency_p95_ms."
    )


class Fleet(AlertLimits, frozen=True, extra="forbid"):
    """Alert limits of devices, in addition to latency and drift."""

    max_silence_s: float = Field(  # a device reports once a minute
        gt=60, description="Seconds since a device last reported."
    )
    max_staleness_days: float = Field(
        gt=0, description="Days since a device last confirmed that its model is the newest."
    )
    min_disk_free_mb: float = Field(gt=0, description="Free space on the disk of a device.")

    @field_validator("max_silence_s")
    @classmethod
    def _check_silence(cls, value: float) -> float:
        if value > LOOK_BACK_S:
            raise never_fires(f"at most {LOOK_BACK_S}, which is a week", 300)
        return value


class DeviceScope(BaseModel, frozen=True, extra="forbid"):
    """Keys of scope.yaml that only devices and their collector read."""

    max_latency_p95_ms: float  # `Scope` describes it
    fail_safe: FailSafe = Field(
        FailSafe(after_times_p95=10),
        description="The decision of a device whose model fails or is too slow.",
    )
    fleet: Fleet | None = Field(
        None, validate_default=True, description="When a device needs attention."
    )

    @field_validator("fleet")
    @classmethod
    def _require_fleet(cls, value: Fleet | None) -> Fleet | None:
        if value is None:
            words = "alerts about devices read it, and `make upgrade` brings its keys"
            raise PydanticCustomError("missing", "{words}", {"words": words})
        return value

    @property
    def deadline_ms(self) -> float:
        """How long a device waits for its model."""
        return self.fail_safe.after_times_p95 * self.max_latency_p95_ms


class DeviceParams(UploadParams, frozen=True, extra="forbid"):
    """Keys of params.yaml that only devices and their collector read."""

    capture: str = Field(
        "", description="Command that prints one input, from a camera or a microphone."
    )
    capture_every_s: float = Field(1, gt=0, description="Seconds between two captures.")
    outbox_mb: float = Field(
        8,
        ge=1,
        description="Disk space reserved for decisions that were not sent yet; beyond it, the "
        "oldest are deleted.",
    )
    keep_days: float = Field(90, gt=0, description="Days that the collector keeps a decision.")
    device: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_.:-]{0,64}$",
        description="Name of this device at the collector. Empty: its host name.",
    )
    update_url: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="Where devices fetch models that `make publish` wrote. Empty: no updates.",
    )
    update_every_s: int = Field(3600, ge=1, description="Seconds between two checks for updates.")
