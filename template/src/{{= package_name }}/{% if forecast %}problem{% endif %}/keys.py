"""Keys of scope.yaml and schema.yaml that depend on what an answer is."""

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from .limits import NumberSchema, NumberScope

RELATIVE = ("wape", "mase")  # metrics without a unit; the others are in answer_unit
MAX_HORIZON = 366  # a year of days; the answer of one request stays below 30 kB
MAX_WINDOW = 2000


class ProblemScope(NumberScope, frozen=True, extra="forbid"):
    """Limits of the quality of forecasts."""

    metric: Literal["wape", "mase", "mae"] = Field(
        description="Metric of max_error, max_int8_drop and max_slice_gap."
    )
    same_within: float = Field(
        gt=0,
        description="How far two answers may be apart that count as the same, as a share of half "
        "the width of the intervals.",
    )
    baseline: Literal["seasonal_naive", "linear"] = Field(
        description="Simple model that the model has to beat."
    )


class Values(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What the values of the series are like; requests may have values from `min` to `max`."""

    centre: float = 0.0
    spread: float = Field(default=1.0, gt=0)
    min: float = -1e12
    max: float = 1e12
    # Mean absolute difference between a value and the one of a season before: see `mase`.
    naive_error: float = Field(default=1.0, gt=0)


class ProblemSchema(NumberSchema, frozen=True, extra="forbid"):
    """Which series there are, how much of the past a model sees, and how far it looks ahead."""

    series_column: str = ""  # empty: the table is one series
    window: int = Field(default=28, ge=2, le=MAX_WINDOW)  # values of the past
    horizon: int = Field(default=7, ge=1, le=MAX_HORIZON)  # values ahead
    season: int = Field(default=7, ge=1)  # steps after which a pattern repeats; 1 for none
    values: Values = Values()

    @model_validator(mode="after")
    def _sees_a_season(self) -> Self:
        if self.season > self.window:
            raise ValueError(f"season {self.season} is longer than window {self.window}")
        return self
