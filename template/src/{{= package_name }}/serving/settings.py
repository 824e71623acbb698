"""Environment variables of the server and of the load test."""

from pydantic import Field, SecretStr

from ..settings import Settings


class ServerSettings(Settings):
    """Variables of the server."""

    host: str = Field(
        "127.0.0.1", description="Address to listen on; 0.0.0.0 in a container.", min_length=1
    )
    port: int = Field(8000, description="Port to listen on.", ge=1, le=65_535)
    allowed_hosts: str = Field(
        "",
        description="Names in the `Host` header that are answered, separated by spaces. If unset: "
        "all names, but on a loopback address only those without a dot, and addresses. A web page "
        "could otherwise reach the server through a name of its own.",
        examples=["scratches.example.com"],
    )
    keep_alive_s: int = Field(
        75,
        description="Seconds after which an idle connection is closed. Longer than in the load "
        "balancer, most often 60: it would otherwise send requests to closed connections.",
        ge=1,
    )
    api_keys: SecretStr = Field(
        SecretStr(""),
        description="API keys, separated by spaces. Clients send one as `x-api-key`. If neither "
        "this nor API_KEYS_FILE is set, no key is required: see ALLOW_ANONYMOUS.",
    )
    api_keys_file: str = Field(
        "",
        description="File with API keys, one per line, instead of API_KEYS.",
        examples=["/run/secrets/api_keys"],
    )


class LoadSettings(Settings):
    """Variables of the load test."""

    load_url: str = Field(
        "",
        description="Server to test. If unset, the load test starts one.",
        examples=["http://127.0.0.1:8000"],
    )
    load_key: SecretStr = Field(SecretStr(""), description="API key that the load test sends.")
