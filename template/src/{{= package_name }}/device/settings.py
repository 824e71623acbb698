"""Environment variables of a device."""

from pydantic import Field, SecretStr

from ..settings import Settings


class UploadSettings(Settings):
    """Variables of the upload to the collector."""

    upload_key: SecretStr = Field(
        SecretStr(""), description="API key for the collector, sent as `x-api-key`."
    )
