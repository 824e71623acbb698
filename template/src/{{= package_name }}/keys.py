"""API keys: who may ask, where somebody set any."""

import hmac
from pathlib import Path

from .settings import setting


def known_keys(name: str) -> list[bytes]:
    """Read the lines of the file that `<PACKAGE>_<NAME>_FILE` names, or `<PACKAGE>_<NAME>`."""
    file = setting(f"{name}_FILE")
    text = Path(file).read_text() if file else setting(name)
    return [key.encode() for key in text.split()]


def admits(keys: list[bytes], given: str) -> bool:
    """Tell whether a key is known; without any, everybody may ask."""
    # Each is compared, in constant time, so that time tells nothing.
    return not keys or sum(hmac.compare_digest(given.encode(), key) for key in keys) > 0
