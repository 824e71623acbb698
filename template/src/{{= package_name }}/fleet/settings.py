"""Environment variables of the collector."""

from pydantic import Field, SecretStr

from ..settings import Settings


class CollectorSettings(Settings):
    """Variables of the collector."""

    collect_host: str = Field(
        "127.0.0.1", description="Address to listen on; 0.0.0.0 in a container.", min_length=1
    )
    collect_port: int = Field(
        8001, description="Port to listen on; 0 takes any free one.", ge=0, le=65_535
    )
    collect_url: str = Field(
        "",
        description="Where batches come from, if the collector reaches it at another address than "
        "devices do; without it, `upload_url` of params.yaml.",
        examples=["mqtts://broker:8883/batches"],
    )
    collect_keys: SecretStr = Field(
        SecretStr(""),
        description="API keys, separated by blanks. Devices send one; without any, every device "
        "may send.",
    )
    collect_keys_file: str = Field(
        "",
        description="File with the API keys, one per line, instead of COLLECT_KEYS.",
        examples=["/run/secrets/collect_keys"],
    )
