"""Environment variables, named `<PACKAGE>_<NAME>`: types, defaults and descriptions.

Each part of the project describes its variables in a subclass of `Settings`, next to the code that
needs them. A command reads them when it starts; importing a module reads nothing.
`make settings` lists them in docs/settings.md, with the keys of scope.yaml and params.yaml.
"""

import hmac
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self, get_args, get_origin

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUseDefault
from pydantic_settings import BaseSettings, SettingsConfigDict

PACKAGE = __name__.partition(".")[0]
DOCUMENT = Path("docs/settings.md")
INTRODUCTION = """\
# Settings

Every key of `scope.yaml` and `params.yaml`, and every environment variable. `make settings` writes
this page from the code: run it after a change of a setting.
"""
# Container platforms set variables like `<NAME>_PORT=tcp://10.96.0.11:80` for their services. One
# that is named like the project sets a variable of this project.
SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")
BOM = "\ufeff"  # byte-order mark that some editors write
COMPARISONS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


class Settings(BaseSettings):
    """Base class: values come from the environment; an empty variable counts as unset."""

    model_config = SettingsConfigDict(
        env_prefix=f"{PACKAGE}_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _ignore_service_links(cls, value: object) -> object:
        if isinstance(value, str) and SERVICE_LINK.match(value):
            raise PydanticUseDefault
        return value

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
    """Variables of several commands."""

    metrics_url: str = Field(
        "",
        description="Metrics of the running model, for `monitor` and `promote`. "
        "Unset: `metrics_url` in params.yaml.",
        examples=["http://127.0.0.1:8000/metrics"],
    )
    prometheus_url: str = Field(
        "",
        description="Prometheus server that is asked for the alert RetrainDue.",
        examples=["http://127.0.0.1:9090"],
    )
    signing_key: str = Field(
        "",
        description="File with the private key that signs releases. Unset: keys/release.pem.",
        examples=["/run/secrets/release.pem"],
    )


class AccessSettings(Settings):
    """Access without a key."""

    allow_anonymous: bool = Field(
        False,
        description="Whether to start without keys where other machines can connect, that is, with "
        "an address that is not loopback. Keys that are set are required in any case.",
    )


def variable(name: str) -> str:
    """Return the full name of an environment variable of this project."""
    return f"{PACKAGE}_{name}".upper()


def set_variables(name: str) -> list[str]:
    """Return which of a variable and its `_FILE` variant are set, even if empty."""
    own = variable(name)
    # pydantic reads variables in any case.
    return sorted({own, f"{own}_FILE"} & {key.upper() for key in os.environ})


def read_keys(name: str, words: SecretStr, file: str) -> list[bytes]:
    """Return the API keys from a file or, if none is named, from the variable itself.

    The result is empty if neither is set. In the file, `#` starts a comment, alone on a line or
    after a key.

    Raises:
        SystemExit: a variable is set but holds no key, or the file is not one of keys: neither must
            allow access without one.
    """
    own, own_file = variable(name), f"{variable(name)}_FILE"
    is_set = set_variables(name)
    try:
        text = Path(file).read_text("utf-8") if file else words.get_secret_value()
    except UnicodeDecodeError:
        raise SystemExit(f"Cannot start: {own_file}: {file} is not UTF-8 text.") from None
    except (OSError, ValueError) as error:
        raise SystemExit(f"{own_file}: cannot read {file} ({error}).") from None
    lines = [re.sub(r"(^|\s)#.*", "", line) for line in text.lstrip(BOM).splitlines()]
    keys = [key for line in lines for key in line.split()]
    if is_set and not keys:
        where = f"{own_file} is set, but {file}" if file else is_set[0]
        remedy = "Put one key per line in it, or unset the variable to allow access without a key"
        raise SystemExit(f"Cannot start: {where} contains no key. {remedy}.")
    for number, key in enumerate(keys, 1):
        if not (key.isascii() and key.isprintable()):
            where = f"{own_file}: key {number} in {file}" if file else f"{own}: key {number}"
            rule = "has characters that no HTTP header can hold. Save it as ASCII or UTF-8 text"
            raise SystemExit(f"Cannot start: {where} {rule}.")
    return [key.encode() for key in keys]


def check_anonymous_access(name: str, hosts: Iterable[str]) -> None:
    """Check that a process without keys is for clients on this machine, or explicitly for all.

    Raises:
        SystemExit: one of the hosts is not loopback, and the owner did not allow it.
    """
    exposed = [host for host in hosts if not is_loopback(host)]
    if exposed and not AccessSettings.read().allow_anonymous:
        raise SystemExit(
            f"Cannot start: {exposed[0]} is not a loopback address, and there are no keys. Set "
            f"{variable(name)}_FILE to a file with one key per line, or "
            f"{variable('ALLOW_ANONYMOUS')}=true to allow access without a key."
        )


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_authorized(key: str, keys: list[bytes]) -> bool:
    """Whether a request with this key is allowed. Without keys, every request is."""
    # Compare with every key, each in constant time: the duration must not reveal a prefix.
    return not keys or sum(hmac.compare_digest(key.encode(), known) for known in keys) > 0


def describe_settings(files: Mapping[str, type[BaseModel]]) -> str:
    """Return a Markdown page about the keys of YAML files and the variables imported so far."""
    parts = [INTRODUCTION]
    for name, model in files.items():
        rows = [
            (f"`{key}`", _describe_rule(field), field.description or "")
            for key, field in _list_keys(model)
        ]
        parts.append(f"## {name}\n\n{_to_table('key', 'value', rows)}")
    parts.append("## Environment variables\n")
    groups = [group for group in Settings.__subclasses__() if _depth(group)]
    for group in sorted(groups, key=lambda group: (_depth(group), group.__module__)):
        rows = [
            (f"`{variable(name)}`", _describe_default(field), field.description or "")
            for name, field in group.model_fields.items()
        ]
        parts.append(f"{group.__doc__}\n\n{_to_table('variable', 'default', rows)}")
    return "\n".join(parts)


def _depth(group: type[Settings]) -> int:
    """Return how deep in the package a class is defined; 0 for a class elsewhere."""
    return group.__module__.count(".") if group.__module__.startswith(f"{PACKAGE}.") else 0


def _list_keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Return the keys of a YAML file, inherited ones last; those of a section are `section.key`."""
    own = [name for name in model.__annotations__ if name in model.model_fields]
    for name in dict.fromkeys([*own, *model.model_fields]):
        field = model.model_fields[name]
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _list_keys(kind, f"{prefix}{name}.")
                break
        else:
            yield prefix + name, field


def _describe_rule(field: FieldInfo) -> str:
    """Return the type of a value and its range or choices."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    names = {"int": "whole number", "float": "number", "str": "text"}
    kind = getattr(field.annotation, "__name__", str(field.annotation))
    limits = [
        f"{sign} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, sign in COMPARISONS.items()
        if isinstance(getattr(rule, name, None), int | float)
    ]
    return " ".join([names.get(kind, kind), ", ".join(limits)]).strip()


def _describe_default(field: FieldInfo) -> str:
    value = field.default
    shown = value.get_secret_value() if isinstance(value, SecretStr) else value
    return f"`{shown}`" if shown != "" else ""


def _to_table(subject: str, middle: str, rows: list[tuple[str, str, str]]) -> str:
    lines = [(subject, middle, "meaning"), ("---", "---", "---"), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
