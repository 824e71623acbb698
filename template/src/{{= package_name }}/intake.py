"""A payload in, an input the model may see out: the one entrance, in training and in service."""

import hashlib
from typing import NamedTuple

import numpy as np
from pydantic import ValidationError

from .refusal import Refusal
from .task.contract import EXAMPLE, contract
from .task.features import Raw, decode, describe, features


class Intake(NamedTuple):
    """A decoded payload, and the facts that the drift monitor follows."""

    raw: Raw
    facts: dict[str, float]


def take_in(payload: bytes) -> Intake:
    """Decode a payload and hold it against the contract.

    Raises:
        Refusal: it cannot be decoded, or a fact of it breaks the contract.
    """
    raw = decode(payload)
    facts = describe(raw)
    try:
        contract().model_validate(facts)
    except ValidationError as error:
        raise Refusal.from_validation(error, EXAMPLE) from None
    return Intake(raw, facts)


def fingerprint(raw: Raw) -> bytes:
    """Return a hash of what the model sees: a copy in another file format is still a copy."""
    return hashlib.sha256(np.round(features(raw), 3).tobytes()).digest()
