"""Environment variables of the collector."""

from pydantic import Field, SecretStr

from ..settings import Settings


class CollectorSettings(Settings):
    """Variables of the collector."""

    collect_host: str = Field(
        "127.0.0.1", description="Address to listen on; 0.0.0.0 in a container.", min_length=1
    )
    collect_port: int = Field(
        8001, description="Port to listen on; 0 picks a free one.", ge=0, le=65_535
    )
    collect_url: str = Field(
        "",
        description="Address to receive batches from, if it differs from `upload_url` in "
        "params.yaml.",
    )
    collect_keys: SecretStr = Field(
        SecretStr(""),
        description="API keys that all devices share, separated by spaces. If neither "
        "this nor COLLECT_KEYS_FILE is set, no key is required: see ALLOW_ANONYMOUS.",
    )
    collect_keys_file: str = Field(
        "",
        description="File with the API keys, instead of COLLECT_KEYS. One per line: `NAME KEY` "
        "for one device, or `KEY` for all others.",
        examples=["/run/secrets/collect_keys"],
    )
