"""Environment variables of a device."""

from pathlib import Path

from pydantic import Field, SecretStr

from ..settings import Settings, variable


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
