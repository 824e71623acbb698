"""Keys of params.yaml for fitting an estimator."""

from pydantic import BaseModel, Field


class FrameworkParams(BaseModel, frozen=True, extra="forbid"):
    """Parameters of training; those of the estimator are in task/model.py."""

    extra: dict[str, bool | int | float | str] = Field(
        default={}, description="Settings of your own, which `task/` may read."
    )
