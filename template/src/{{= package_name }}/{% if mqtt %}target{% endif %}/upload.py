"""The address of the collector, over HTTP or through an MQTT broker."""

from pydantic import BaseModel, Field


class UploadParams(BaseModel, frozen=True, extra="forbid"):
    """The key of params.yaml that depends on how devices report."""

    upload_url: str = Field(
        "",
        pattern=r"^(https?://\S+|mqtts?://[^/@\s]+/[^\s#+]+)?$",
        description="Broker and topic: `mqtts://broker.example.com/events`; or the address of a "
        "collector: `https://collector.example.com/events`. Empty: decisions stay on the device.",
    )
