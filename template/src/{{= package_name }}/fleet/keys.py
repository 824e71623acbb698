"""API keys of devices: one per line, `NAME KEY` for one device, or `KEY` for all the others."""

import hmac
import re
from pathlib import Path
from typing import NamedTuple

from ..settings import set_variables, variable
from .settings import CollectorSettings

DEVICE_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class Key(NamedTuple):
    """A key, and the device that it belongs to; empty for a shared key."""

    secret: bytes
    device: str = ""


class Keys:
    """The keys that a collector accepts. Without any, it accepts every batch."""

    def __init__(self, keys: list[Key]) -> None:
        self._keys = keys
        self._named = {key.device for key in keys}

    def __bool__(self) -> bool:
        return bool(self._keys)

    @property
    def names(self) -> set[str]:
        """The devices that have a key of their own."""
        return self._named - {""}

    def describe(self) -> str:
        """Return one line for the start of the collector."""
        named = len(self._named - {""})
        shared = sum(not key.device for key in self._keys)
        if not self._keys:
            return "No keys are set: every client that reaches it may send, as any device."
        return f"Keys: {named} devices have their own, {shared} are shared by all other devices."

    def devices_of(self, secret: str) -> set[str] | None:
        """Return the devices that a key belongs to, "" for all without a key; None if unknown."""
        # Compare with every key, each in constant time: the duration must not reveal a prefix.
        given = secret.encode(errors="replace")
        found = {key.device for key in self._keys if hmac.compare_digest(given, key.secret)}
        return found or None

    def may_speak(self, devices: set[str], device: str) -> bool:
        """Return whether a key of `devices` may send reports of this device.

        A shared key may not speak for a device that has its own key.
        """
        return device in devices or ("" in devices and device not in self._named)


def read_device_keys(settings: CollectorSettings) -> Keys:
    """Return the keys of the file or, if none is named, of the variable.

    Raises:
        SystemExit: a variable is set, but there is no key, or something that cannot be one. The
            collector must not accept every batch because of an empty file.
    """
    name = variable("COLLECT_KEYS")
    file = settings.collect_keys_file
    if file:
        return Keys(_read_file(file, f"{name}_FILE ({file})"))
    keys = [Key(word.encode()) for word in settings.collect_keys.get_secret_value().split()]
    if not keys and (is_set := set_variables("COLLECT_KEYS")):
        raise _refusal(f"{is_set[0]} is set, but it is empty")
    for key in keys:
        _check_characters(key.secret.decode(), name)
    return Keys(keys)


def _read_file(file: str, source: str) -> list[Key]:
    try:
        content = Path(file).read_bytes()
        text = content.decode()
    except OSError as error:
        raise _refusal(f"{source}: cannot read it ({error.strerror})") from None
    except ValueError:
        text = "\0"
    if text.startswith("\ufeff") or "\0" in text:
        raise _refusal(f"{source} is not plain UTF-8 text, without a byte-order mark")
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) > 2 or (len(words) == 2 and not DEVICE_NAME.fullmatch(words[0])):
            raise _refusal(f"{source}, line {number}: expected a key, or a device and its key")
        _check_characters(words[-1], f"{source}, line {number}")
        keys.append(Key(words[-1].encode(), words[0] if len(words) == 2 else ""))
    if not keys:
        raise _refusal(f"{source} contains no key")
    return keys


def _check_characters(key: str, source: str) -> None:
    if not all("!" <= character <= "~" for character in key):
        raise _refusal(f"{source}: a key has only printable ASCII characters")


def _refusal(reason: str) -> SystemExit:
    remedy = "Put one key per line in the file, or unset the variable to accept every batch"
    return SystemExit(f"Cannot start: {reason}. {remedy}.")
