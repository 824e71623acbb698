"""Environment variables, named `<PACKAGE>_<NAME>`: their types, defaults and meaning.

Each part of the project describes its variables in a subclass of `Settings`, next to the code that
needs them. `python -m <package> settings` prints them all. A command reads them when it starts;
importing a module reads nothing.
"""

import hmac
import os
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PACKAGE = __name__.partition(".")[0]


class Settings(BaseSettings):
    """Base class: the values come from the environment, and an empty variable counts as unset."""

    model_config = SettingsConfigDict(
        env_prefix=f"{PACKAGE}_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    @classmethod
    def read(cls) -> Self:
        """Read the variables of this class.

        Raises:
            SystemExit: a value breaks its rule; the variable is named, with a valid example.
        """
        try:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            field = cls.model_fields[name]
            value = "a secret" if field.annotation is SecretStr else repr(first["input"])
            example = (field.examples or [field.default])[0]
            rule = f"{first['msg'].lower()}, for example {example}"
            raise SystemExit(f"{variable(name)}: got {value}; {rule}.") from None


class ProjectSettings(Settings):
    """Variables of every project."""

    metrics_url: str = Field(
        "",
        description="Metrics of the running model, for `monitor` and `promote`; "
        "without it, `metrics_url` of params.yaml.",
        examples=["http://127.0.0.1:8000/metrics"],
    )
    prometheus_url: str = Field(
        "",
        description="Prometheus that `retrain` asks whether the alert RetrainDue is firing.",
        examples=["http://127.0.0.1:9090"],
    )
    signing_key: str = Field(
        "",
        description="File with the private key that signs releases; without it, keys/release.pem.",
        examples=["/run/secrets/release.pem"],
    )


def variable(name: str) -> str:
    """Return the full name of an environment variable of this project."""
    return f"{PACKAGE}_{name}".upper()


def read_keys(name: str, words: SecretStr, file: str) -> list[bytes]:
    """Return the API keys in a file, or else in the variable itself; none if neither is set.

    In the file, `#` begins a comment line.

    Raises:
        SystemExit: keys were meant to be set, but there are none: that must not let everyone in.
    """
    try:
        text = Path(file).read_text() if file else words.get_secret_value()
    except (OSError, ValueError) as error:
        raise SystemExit(f"{variable(name)}_FILE: cannot read {file} ({error}).") from None
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    keys = [key.encode() for line in lines for key in line.split()]
    is_set = {variable(name), f"{variable(name)}_FILE"} & os.environ.keys()
    if is_set and not keys:
        where = f"{variable(name)}_FILE is set, but {file}" if file else f"{sorted(is_set)[0]}"
        remedy = "Put one key per line in it, or unset the variable to allow access without a key"
        raise SystemExit(f"Cannot start: {where} contains no key. {remedy}.")
    return keys


def is_authorized(key: str, keys: list[bytes]) -> bool:
    """Whether a request with this key may pass; without any keys, every request may."""
    # Compare with all of them, each in constant time: the duration must not reveal a prefix.
    return not keys or sum(hmac.compare_digest(key.encode(), known) for known in keys) > 0


def print_settings() -> None:
    """Print the variables of all modules that are imported, their defaults and their meaning."""
    for group in Settings.__subclasses__():
        print(f"{group.__doc__}")
        for name, field in group.model_fields.items():
            shown = field.default
            if isinstance(shown, SecretStr):
                shown = shown.get_secret_value()
            print(f"  {variable(name)}{f' [{shown}]' if shown else ''}\n    {field.description}")
