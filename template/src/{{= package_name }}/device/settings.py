"""Environment variables of a device."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from ..settings import Settings, is_loopback, variable


class UploadSettings(Settings):
    """Variables of the upload to the collector."""

    upload_key: SecretStr = Field(
        SecretStr(""), description="API key for the collector, sent as `x-api-key`."
    )
    upload_key_file: str = Field(
        "",
        description="File with this key, instead of UPLOAD_KEY. It is read for each upload.",
        examples=["/run/secrets/upload_key"],
    )

    def read_key(self) -> str:
        """Return the key; see `read_key`."""
        return read_key("UPLOAD_KEY", self.upload_key, self.upload_key_file)


def read_key(name: str, value: SecretStr, file: str) -> str:
    """Return a key from a file or, if none is named, from the variable itself.

    Blanks and newlines around it are removed. The result is empty if neither is set.

    Raises:
        ValueError: the file cannot be read, or does not hold one key that fits into a header.
    """
    source = f"{variable(name)}_FILE ({file})" if file else variable(name)
    try:
        key = (Path(file).read_text("utf-8") if file else value.get_secret_value()).strip()
    except (OSError, ValueError) as error:
        raise ValueError(f"{source}: cannot read it ({type(error).__name__})") from None
    if file and not key:
        raise ValueError(f"{source}: it holds no key")
    if not all("!" <= character <= "~" for character in key):
        raise ValueError(f"{source}: a key has no blanks, and only ASCII characters")
    return key


class PlainTextSettings(Settings):
    """Keys on the network."""

    allow_plain_text: bool = Field(
        False,
        description="Whether to send keys and passwords to other machines without encryption: "
        "others on the network can read them.",
    )


def check_encrypted(url: str) -> None:
    """Check that a key which is about to be sent to an address cannot be read on the way.

    Raises:
        OSError: the address is neither encrypted nor loopback, and the owner did not allow it.
    """
    parts = urlsplit(url)
    if parts.scheme.endswith("s") or is_loopback(parts.hostname or ""):
        return
    if not PlainTextSettings.read().allow_plain_text:
        rule = f"Use {parts.scheme}s://, or set {variable('ALLOW_PLAIN_TEXT')}=true"
        raise OSError(f"{url} is not encrypted, so the key is not sent. {rule}")
