"""Limits for clips, in training data and in production."""

from pydantic import BaseModel, ConfigDict, Field


class Facts(BaseModel):
    """Limits for the facts of `describe`. Clips of an unplugged microphone are invalid."""

    model_config = ConfigDict(allow_inf_nan=False)

    seconds: float = Field(ge=0.2, le=5)  # words are longer; only the loudest second is used
    loudness_db: float = Field(ge=-80, le=-3)  # about 3 steps of 16 bit; a sine at full scale
    peak: float = Field(ge=0.001, le=1)  # 33 steps of 16 bit
    silence_share: float = Field(ge=0, le=0.999)  # above: only a click
    frequency_hz: float = Field(ge=20, le=8000)  # audible, and below half the sample rate


EXAMPLE = {
    "seconds": 1.0,
    "loudness_db": -30.0,
    "peak": 0.2,
    "silence_share": 0.7,
    "frequency_hz": 1500.0,
}


def contract() -> type[BaseModel]:
    """Return the pydantic model that validates the facts of one example."""
    return Facts
