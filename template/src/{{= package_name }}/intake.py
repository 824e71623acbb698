"""Decode a payload and check it against the contract: training and service both enter here."""

from typing import NamedTuple

from pydantic import ValidationError

from .refusal import Refusal
from .task.contract import EXAMPLE, contract
from .task.features import Raw, decode, describe


class Intake(NamedTuple):
    """A decoded payload, and the facts that the drift monitor follows."""

    raw: Raw
    facts: dict[str, float]


def take_in(payload: bytes) -> Intake:
    """Decode a payload and check it against the contract.

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
