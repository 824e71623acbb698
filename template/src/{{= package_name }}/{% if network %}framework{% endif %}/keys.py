"""Keys of params.yaml for training a network."""

from pydantic import BaseModel, Field


class FrameworkParams(BaseModel, frozen=True, extra="forbid"):
    """Parameters of training."""

    training_threads: int = Field(
        ge=1, description="Threads of PyTorch. Another number changes the last bits of the weights."
    )
    epochs: int = Field(ge=1, description="Passes over the training split.")
    batch_size: int = Field(ge=2, description="Examples per training step.")
    learning_rate: float = Field(gt=0, description="Highest learning rate of the schedule.")
    calibration_examples: int = Field(
        ge=1, description="Examples that set the ranges of the int8 model."
    )
    extra: dict[str, bool | int | float | str] = Field(
        default={}, description="Settings of your own, which `task/` may read."
    )
