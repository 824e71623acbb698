"""Decode and validate payloads. Training and prediction both start here."""

from typing import NamedTuple

from pydantic import ValidationError

from .refusal import Refusal, check_size
from .task.contract import EXAMPLE, contract
from .task.features import MAX_PAYLOAD_BYTES, Raw, decode, describe


class Intake(NamedTuple):
    """A decoded payload and its facts, which drift monitoring watches."""

    raw: Raw
    facts: dict[str, float]


def take_in(payload: bytes) -> Intake:
    """Decode a payload and validate its facts.

    Raises:
        Refusal: the payload is too large or cannot be decoded, or one of its facts is invalid.
    """
    check_size(len(payload), MAX_PAYLOAD_BYTES)
    raw = decode(payload)
    facts = describe(raw)
    try:
        contract().model_validate(facts)
    except ValidationError as error:
        raise Refusal.from_validation(error, EXAMPLE) from None
    return Intake(raw, facts)
