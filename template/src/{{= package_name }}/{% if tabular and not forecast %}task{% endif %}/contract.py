"""Limits for the facts of a row, in training data and in production."""

from pydantic import BaseModel, ConfigDict


class Facts(BaseModel):
    """One finite number per column. `decode` validates the row itself with `schema.yaml`."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, float]


EXAMPLE = {"amount_usd": 42.0}


def contract() -> type[BaseModel]:
    """Return the pydantic model that validates the facts of one example."""
    return Facts
