"""Limits for the facts of a window, in training data and in production."""

from pydantic import BaseModel, ConfigDict


class Facts(BaseModel):
    """Finite numbers. `decode` validates the values themselves with `schema.yaml`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    latest: float  # value, in standard deviations of the window from its mean
    step: float  # from the value before it
    change: float  # mean of the last season minus that of the first one


EXAMPLE = {"latest": 0.5, "step": -0.5, "change": 0.1}


def contract() -> type[BaseModel]:
    """Return the pydantic model that validates the facts of one example."""
    return Facts
