"""What the facts of a row must look like, in training data and in requests alike."""

from pydantic import BaseModel, ConfigDict


class Facts(BaseModel):
    """Finite numbers, one per column: `decode` has checked the row itself against `schema.yaml`."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, float]


EXAMPLE = {"amount_usd": 42.0}


def contract() -> type[BaseModel]:
    """Return the model that checks the facts of one example."""
    return Facts
