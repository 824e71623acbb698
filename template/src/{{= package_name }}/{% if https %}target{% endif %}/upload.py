"""The address of the collector, which speaks HTTP."""

from pydantic import BaseModel, Field


class UploadParams(BaseModel, frozen=True, extra="forbid"):
    """The key of params.yaml that depends on how devices report."""

    upload_url: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="Address of the collector: `https://collector.example.com/events`. "
        "Empty: decisions stay on the device.",
    )
