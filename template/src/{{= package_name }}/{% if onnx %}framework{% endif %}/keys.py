"""Keys of params.yaml for a model that exists."""

from pydantic import BaseModel


class FrameworkParams(BaseModel, frozen=True, extra="forbid"):
    """No parameters: the model is taken as it is."""
