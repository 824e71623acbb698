"""Settings of a prediction server."""

from typing import Literal

from pydantic import BaseModel, Field, field_validator

from .alert_limits import LOOK_BACK_S, AlertLimits, never_fires

# The page of deploy/alerts/server.yml that needs the fastest burn asks for 14.4 times the error
# budget. A budget of more than 1 / 14.4 burns slower than that even if every request fails.
FASTEST_BURN = 14.4
SEND = "curl -H 'content-type: {kind}' --data-binary @{path} 127.0.0.1:8000/predict"


class Challenger(BaseModel, frozen=True, extra="forbid"):
    """Rules that stop a challenger, in addition to the limits of every model."""

    max_errors: float = Field(gt=0, le=1, description="Share of requests on which it fails.")
    max_slowdown: float = Field(
        gt=0, description="Median of its time over the champion's, for the same input."
    )
    max_disagreement: float = Field(
        gt=0, le=1, description="Share of predictions that are not the champion's."
    )
    max_shift: float = Field(
        gt=0, le=1, description="Median change of a prediction, from 0 to 1: see scope.yaml."
    )


class ServerWatch(AlertLimits, frozen=True, extra="forbid"):
    """Alert limits that need a server."""

    max_model_age_days: float = Field(
        default=90, gt=0, description="Days since the model was trained."
    )
    max_idle_s: float = Field(default=3600, gt=0, description="Seconds without a prediction.")

    @field_validator("max_idle_s")
    @classmethod
    def _check_idle_time(cls, value: float) -> float:
        if value > LOOK_BACK_S:
            raise never_fires(f"at most {LOOK_BACK_S}, which is a week", 3600)
        return value


class ServerScope(BaseModel, frozen=True, extra="forbid"):
    """Keys of scope.yaml that only a server reads."""

    min_availability: float = Field(
        1.0,
        gt=0,
        le=1,
        validate_default=True,
        description="Share of requests that are answered. `make load` measures it.",
    )
    challenger: Challenger | None = Field(None, description="Rules that stop a challenger.")
    payloads: Literal["none", "hashed", "all"] = Field(
        "none", description="Part of each input that the journal keeps for labelling."
    )

    @field_validator("min_availability")
    @classmethod
    def _check_error_budget(cls, value: float) -> float:
        if not 1 - 1 / FASTEST_BURN < value < 1:
            raise never_fires(f"above {1 - 1 / FASTEST_BURN:.4f} and below 1", 0.999)
        return value


class ServerParams(BaseModel, frozen=True, extra="forbid"):
    """Keys of params.yaml that only a server reads."""

    journal_share: float = Field(
        1, ge=0, le=1, description="Share of predictions that are written to data/journal.db."
    )
    journal_days: float = Field(30, gt=0, description="Days after which they are deleted.")
    journal_mb: float = Field(
        500, ge=1, description="Size of the journal; beyond it, the oldest entries are deleted."
    )
    labelled_window: int = Field(
        200, ge=20, description="Labelled predictions over which live quality is measured."
    )
